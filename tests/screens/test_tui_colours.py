"""Terminals of sixteen colours, and themes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlops_box.errors import UsageError


@pytest.mark.parametrize(
    ("environment", "sixteen"),
    [
        ({"TERM": "linux"}, True),
        ({"TERM": "xterm-16color"}, True),
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, False),
        ({"TERM": "linux", "NO_COLOR": "1"}, True),
    ],
    ids=lambda value: " ".join(value.values()) if isinstance(value, dict) else "",
)
def test_a_terminal_of_sixteen_colours_is_known_by_its_environment(
    environment: dict[str, str], sixteen: bool
) -> None:
    kept = {
        name: value for name, value in os.environ.items() if name not in ("TERM", "COLORTERM", "NO_COLOR")
    }
    asked = "from mlops_box_tui.themes import has_sixteen_colours as h; print(h())"
    done = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True,
        env={**kept, "PYTHONPATH": "tui", **environment}, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout.strip() == str(sixteen)


@pytest.mark.parametrize("theme", ["dark", "light"])
async def test_sixteen_colours_are_the_terminals_own(open_app: Any, home: Path, theme: str) -> None:
    async with open_app(home, start="models", theme=theme, sixteen_colours=True) as (app, _):
        assert app.theme == f"ansi-{theme}"
        colours = {
            segment.style.color
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            if segment.style is not None and segment.style.color is not None
        }
        # No colour of our own: the terminal's sixteen, or its default.
        assert {colour.type.name for colour in colours} <= {"STANDARD", "DEFAULT"}
        assert len(colours) > 3


async def test_a_theme_that_does_not_exist_is_one_clear_error(make_app: Any, home: Path) -> None:
    with pytest.raises(UsageError, match="no theme 'nonsense'"):
        make_app(home, theme="nonsense")
