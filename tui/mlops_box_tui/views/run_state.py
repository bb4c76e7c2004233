"""How a run's state is told."""

from __future__ import annotations

from rich.text import Text

from mlops_box.operations.views import RunRow
from mlops_box_tui.look import Look


def run_state(row: RunRow, look: Look) -> Text:
    """A running run whose process is gone is not called running."""
    return look.state("lost" if row.state == "running" and row.owner_alive is False else row.state)
