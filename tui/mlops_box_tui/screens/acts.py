"""Ledger entries as a table: who did what, when."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from mlops_box.ledger import Entry
from mlops_box_tui.look import Look
from mlops_box_tui.widgets.grids import rows


def acts_table(acts: Sequence[Entry], look: Look) -> Table | Text:
    """Oldest first."""
    return rows(
        ("at", "act", "by", "facts"),
        [(look.when(act.at), look.text(act.act, "accent"), act.actor, act.facts or None) for act in acts],
        look,
        empty="the ledger holds no act on it",
    )
