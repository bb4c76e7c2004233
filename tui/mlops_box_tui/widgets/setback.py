"""A rollout that ended badly, in a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from mlops_box_tui.look import Look

if TYPE_CHECKING:
    from mlops_box.operations.views import Setback


def setback_line(found: Setback, look: Look) -> Text:
    """Which version a rollout has kept out, when, and on what evidence."""
    line = Text.assemble(
        look.state(found.state, f"v{found.number} {found.word}"),
        " ",
        look.ago(found.at),
        ": ",
        look.text(found.reason),
    )
    line.no_wrap, line.overflow = True, look.overflow
    return line
