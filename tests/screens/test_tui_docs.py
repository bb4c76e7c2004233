"""The page of the terminal: its pictures are what the program draws, its tour names keys that lead there."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlops_box_tui import keys
from mlops_box_tui.commands import parse_command
from mlops_box_tui.registry import VIEWS
from test_tui_parity import parsed

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tui.md").read_text(encoding="utf-8")
PROSE = PAGE.partition(keys.BEGIN)[0]
TOUR = PROSE.partition("## A tour\n")[2].partition("\n## ")[0]
NAMES = {
    "]": "right_square_bracket",
    "[": "left_square_bracket",
    "!": "exclamation_mark",
    "*": "asterisk",
    ":": "colon",
}


def pictures() -> Any:
    spec = importlib.util.spec_from_file_location("docs_pictures", ROOT / "docs/pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def known() -> set[str]:
    """Every key of the table, as Textual names it; and Textual's own way from one thing to the next."""
    bound = (binding.key for _, place in keys.PLACES for binding in keys.own_bindings(place))
    return {key for together in bound for key in together.split(",")} | {"tab"}


def told(text: str) -> list[str]:
    """The keys that a text names, in order: all code in it that is neither a command nor a setting."""
    return [NAMES.get(span, span) for span in spans(text) if " " not in span and not is_command(span)]


def spans(text: str) -> list[str]:
    """All code within the lines of a text; blocks of code are none."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def is_command(span: str) -> bool:
    return len(span) > 1 and span.startswith(":")


def parts() -> list[Any]:
    return [
        pytest.param(part.partition("\n")[2], id=part.partition("\n")[0]) for part in TOUR.split("### ")[1:]
    ]


def test_the_pictures_are_what_the_program_draws() -> None:
    # In a process of its own: what this one has imported and set must not show.
    done = subprocess.run(
        [sys.executable, ROOT / "docs/pictures.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_picture_is_shown_and_every_picture_that_is_shown_is_made() -> None:
    shown = set(
        re.findall(r"images/(tui-[a-z-]+\.svg)", PAGE + (ROOT / "README.md").read_text(encoding="utf-8"))
    )
    made = set(pictures().PICTURES)
    assert shown == made == {path.name for path in (ROOT / "docs/images").glob("tui-*.svg")}


@pytest.mark.parametrize("part", parts())
def test_the_keys_of_the_tour_are_those_of_the_table_and_lead_to_its_picture(part: str) -> None:
    assert set(told(part)) <= known(), set(told(part)) - known()
    before, picture, _ = part.partition("![")
    if picture:
        name = re.findall(r"images/(tui-[a-z-]+\.svg)", part)[0]
        assert tuple(told(before)) == pictures().PICTURES[name].press


def test_every_command_that_the_page_names_is_understood() -> None:
    typed = [span[1:] for span in spans(PROSE) if is_command(span)]
    assert len(typed) > 10
    for text in typed:
        assert parse_command(text, VIEWS).verb
    lines = [line.partition("#")[0].strip() for line in PROSE.splitlines() if line.startswith("mlops-box ")]
    assert len(lines) > 5
    for line in lines:
        assert parsed(shlex.split(line)[1:]) == "tui"
