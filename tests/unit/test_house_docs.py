"""The docs say what the code does."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from mlops_box.errors import ExitCode

ROOT = Path(__file__).parents[2]
TESTED = (
    "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e '.[dev]' && .venv/bin/pytest -n 3"
)
SHOWN = "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e '.[all]' && .venv/bin/mlops-box demo"


def test_the_pages_made_from_the_code_are_current() -> None:
    # In a process of its own: click keeps the help option of a command as its first caller made it.
    checked = subprocess.run(
        [sys.executable, ROOT / "docs/make.py", "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, f"run `just docs`: {checked.stdout}{checked.stderr}"


def test_every_exit_code_has_a_meaning() -> None:
    spec = importlib.util.spec_from_file_location("docs_make", ROOT / "docs/make.py")
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    assert set(make.MEANINGS) == set(ExitCode)


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md", ".ci/run", "justfile"])
def test_the_command_that_is_documented_is_the_command_that_ci_runs(file: str) -> None:
    text = (ROOT / file).read_text()
    command = TESTED if file != "justfile" else TESTED.removesuffix(" && .venv/bin/pytest -n 3")
    assert command in text
    if file == "README.md":
        assert SHOWN in text


def test_every_direct_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs/dependencies.md").read_text()
    texts = project["dependencies"] + project["optional-dependencies"]["torch"]
    texts += project["optional-dependencies"]["otel"]
    names = [Requirement(text).name for text in texts]
    assert [name for name in names if name not in page] == []


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/cli.md",
        "docs/dependencies.md",
        "docs/serving.md",
    ],
)
def test_no_link_to_a_file_is_dead(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_every_module_says_what_it_is_for() -> None:
    import ast

    for package in ("mlops_box", "flows", "services", "tui"):
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert ast.get_docstring(tree) or not tree.body, path
