"""What the documentation shows can be typed: commands exist with their options, declarations are read as they stand."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from test_example_readmes import resolved

from mlops_box.project import Project

DOCS = Path(__file__).parents[2] / "docs"
GENERATED = {"cli.md", "exit-codes.md"}
PAGES = sorted(page.name for page in DOCS.glob("*.md") if page.name not in GENERATED)
BASE = """
[project]
name = "docs"
[data]
source = "d.csv"
time = "at"
[data.contract]
at = { type = "timestamp" }
a = { type = "double" }
[model]
task = "regression"
target = "b"
features = ["a"]
"""


def merged(some: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Both, table by table; the others win."""
    tables = {
        key for key, value in others.items() if isinstance(value, dict) and isinstance(some.get(key), dict)
    }
    return some | {key: merged(some[key], value) if key in tables else value for key, value in others.items()}


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_on_a_page_exists_with_its_options(page: str) -> None:
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            if not line.startswith("mlops-box ") or line.startswith("mlops-box -"):
                continue
            words = shlex.split(line, comments=True)[1:]
            if words == ["alerts", "--follow"]:
                continue
            found, rest = resolved(words)
            known = {option for parameter in found.params for option in parameter.opts}
            given = {word.partition("=")[0] for word in rest if re.match(r"--[a-z]", word)}
            assert given <= known, line


@pytest.mark.parametrize("page", PAGES)
def test_every_declaration_on_a_page_is_read_as_it_stands(page: str) -> None:
    for block in blocks(page, "toml"):
        if not block.startswith("["):
            continue  # not of mlops.toml, whose every example begins with its section
        Project.model_validate(merged(tomllib.loads(BASE), tomllib.loads(block)))
