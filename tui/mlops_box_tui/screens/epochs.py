"""How far a training in epochs is, as a line."""

from __future__ import annotations

from rich.text import Text

from mlops_box.epochs import EpochProgress
from mlops_box.units import format_duration
from mlops_box_tui.look import UNKNOWN, Look

BAR_CELLS = 16


def epoch_line(progress: EpochProgress, look: Look) -> Text:
    """A bar of the epochs done, and the rest in words."""
    full, empty = ("#", ".") if look.ascii_only else ("█", "░")
    cells = BAR_CELLS * min(progress.done, progress.total) // progress.total
    bar = Text(full * cells, style=look.style("busy")).append(empty * (BAR_CELLS - cells), style="dim")
    line = Text.assemble(bar, "  ", look.text(progress.words()))
    line.no_wrap, line.overflow = False, "fold"
    return line


def left_line(progress: EpochProgress, look: Look) -> Text:
    """How long the epochs of a running training may still take, for a heading; empty where none come."""
    if progress.ended or not progress.running:
        return Text()
    if progress.left_s is None:
        return Text.assemble(("  left ", "dim"), (UNKNOWN, "dim"))
    at_most = "at most " if progress.may_stop else "about "
    return Text.assemble(("  left ", "dim"), (at_most + format_duration(progress.left_s), look.style("busy")))
