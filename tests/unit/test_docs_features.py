"""The Python on docs/features.md prints what the page says, and its view computes."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from test_docs_examples import blocks

from mlops_box.features.define import define
from mlops_box.project import load_project
from tests.feature_case import CARDS, write_cards

PAGE = "features.md"


def test_the_python_prints_what_the_page_says() -> None:
    [code], [output] = blocks(PAGE, "python"), blocks(PAGE, "text")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stdout, found.stderr) == (0, output, "")


@pytest.mark.parametrize("parity", [0, 1])
def test_the_declared_view_is_accepted_whole(tmp_path: Path, parity: int) -> None:
    write_cards(tmp_path / "cards", payments=30)
    (tmp_path / "cards/features/activity.sql").unlink()
    declared, compared = blocks(PAGE, "toml")
    before, _, after = CARDS.partition("[features.sources.tx]")
    text = before + declared + (compared if parity else "") + after[after.index("[model]") :]
    (tmp_path / "cards/mlops.toml").write_text(text)

    found = define(load_project(tmp_path / "cards"), scratch=tmp_path / "scratch")

    assert found.definitions["activity"].features == ("n_1h", "spend_1h")
    assert tomllib.loads(compared)["features"]["parity"]["block"] is True
    assert load_project(tmp_path / "cards").declaration.features.parity.block is bool(parity)
