"""Data: every checked batch, accepted as a snapshot or refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.screen import Screen

from mlops_box.box import Box
from mlops_box.operations.views import BatchRow, Page, Query, list_batches
from mlops_box_tui.acts.act import act_bindings
from mlops_box_tui.acts.data import CHECK
from mlops_box_tui.look import Look
from mlops_box_tui.screens.batch import BatchScreen
from mlops_box_tui.screens.sql import SqlScreen
from mlops_box_tui.views.base import ListView
from mlops_box_tui.widgets.table import Column


class DataView(ListView[BatchRow]):
    """Snapshots and refusals, newest first."""

    NAME = "data"
    ACTS = (CHECK,)
    BINDINGS: ClassVar[list[BindingType]] = [
        *act_bindings(ACTS),
        Binding("i", "sql", "SQL", show=False, id="data.sql",
                tooltip="Inquire: a SELECT over the snapshot under the cursor, read-only."),
    ]  # fmt: skip
    COLUMNS = (
        Column("state", "verdict", 10, sortable=True),
        Column("project", "project", 16, flex=True),
        Column("id", "snapshot", 12, drop=3),
        Column("door", "door", 9, drop=2),
        Column("rows", "rows", 9, sortable=True, right=True),
        Column("quarantined", "quarantined", 11, sortable=True, right=True),
        Column("rejected", "unreadable", 10, drop=5, right=True),
        Column("rule", "first broken rule", 22, drop=1),
        Column("range", "time range", 25, drop=6),
        Column("at", "checked", 11, sortable=True),
        Column("used", "used by", 7, drop=4, right=True),
    )
    EMPTY = (
        "No snapshots yet. A snapshot is data that passed its contract:",
        "mlops-box init my-project --from data.csv --target COLUMN\nmlops-box check --project my-project",
    )
    STATES = ("accepted", "refused")

    def fetch(self, box: Box, query: Query) -> Page[BatchRow]:
        return list_batches(box, query)

    def key_of(self, row: BatchRow) -> str:
        return row.id

    def cells(self, row: BatchRow, look: Look) -> tuple[Text, ...]:
        span = None
        if row.time_min and row.time_max:
            span = f"{row.time_min:%Y-%m-%d} to {row.time_max:%Y-%m-%d}"
        return (
            look.state(row.state), look.text(row.project), look.text(row.id[:12], "quiet"), look.text(row.door),
            look.count(row.rows_good), _bad(row.rows_quarantined, look), _bad(row.rows_rejected, look),
            look.text(row.first_rule, "warn" if row.first_rule else "quiet"), look.text(span, "quiet"),
            look.when(row.at), look.count(row.versions) if row.state == "accepted" else look.text(None),
        )  # fmt: skip

    def preview(self, row: BatchRow, look: Look) -> Sequence[Text]:
        return (
            Text.assemble(look.state(row.state), "  ", look.text(row.project), "  ", look.ago(row.at),
                          ("  id ", "dim"), look.text(row.id, "quiet")),
            Text.assemble(look.count(row.rows_in), (" rows in = ", "dim"), look.count(row.rows_good),
                          (" good + ", "dim"), look.count(row.rows_quarantined), (" quarantined + ", "dim"),
                          look.count(row.rows_rejected), (" unreadable", "dim")),
        )  # fmt: skip

    def detail(self, row: BatchRow) -> Screen[None]:
        return BatchScreen(row.id)

    def action_sql(self) -> None:
        row = self.row
        if row is not None and row.state == "accepted":
            self.app.push_screen(SqlScreen(row.id))
        elif row is not None:
            self.app.notify("a refused batch left no snapshot to ask", severity="warning", timeout=4)


def _bad(count: int | None, look: Look) -> Text:
    return look.count(count, tone="warn" if count else "quiet")
