"""Drift: every column of each model's newest window against its reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.screen import Screen

from mlops_box.box import Box
from mlops_box.operations.views import DriftRow, Page, Query, list_drift
from mlops_box_tui.acts.act import act_bindings
from mlops_box_tui.acts.data import MONITOR
from mlops_box_tui.acts.runs import RETRAIN
from mlops_box_tui.look import Look
from mlops_box_tui.screens.evidence import finding_state, share
from mlops_box_tui.screens.feature import FeatureScreen
from mlops_box_tui.screens.heatmap import HeatmapScreen
from mlops_box_tui.views.base import ListView
from mlops_box_tui.widgets.table import Column


class DriftView(ListView[DriftRow]):
    """Drifted columns first."""

    NAME = "drift"
    ACTS = (RETRAIN, MONITOR)
    BINDINGS: ClassVar[list[BindingType]] = [
        *act_bindings(ACTS),
        # Ahead of the table, where it scrolls to the left as the left arrow does.
        Binding("h", "heatmap", "heat map", show=False, id="drift.heatmap", priority=True,
                tooltip="All columns of this model version over its newest windows."),
    ]  # fmt: skip
    COLUMNS = (
        Column("feature", "column", 14, sortable=True, flex=True),
        Column("model", "model", 16, sortable=True),
        Column("outcome", "verdict", 13),
        Column("psi", "PSI", 7, sortable=True, right=True),
        Column("effect", "effect", 7, sortable=True, right=True),
        Column("missing", "missing", 14, drop=2, sortable=True),
        Column("reference", "reference", 12, drop=1),
        Column("now", "now", 12, drop=1),
        Column("rows", "rows", 8, drop=3, right=True),
        Column("window", "window", 11, drop=4),
    )
    EMPTY = (
        "No monitored window yet. Monitoring compares live traffic with the data of training:",
        "mlops-box up\nmlops-box monitor",
    )
    STATES = ("drift", "fine", "cannot_tell")

    def fetch(self, box: Box, query: Query) -> Page[DriftRow]:
        return list_drift(box, query)

    def key_of(self, row: DriftRow) -> str:
        return row.key

    def cells(self, row: DriftRow, look: Look) -> tuple[Text, ...]:
        drifted = row.outcome == "drift"
        missing = None
        if row.missing is not None:
            missing = f"{share(row.missing_reference)} > {share(row.missing)}"
        shape = row.shape
        return (
            look.text(row.feature or "(all columns)", "plain" if row.feature else "quiet"),
            look.text(row.ref, "accent"), finding_state(row.outcome, look), look.number(row.psi, digits=3),
            look.number(row.ks, digits=3, tone="bad" if drifted else "plain"), look.text(missing),
            look.bars(shape.reference, tone="quiet") if shape else look.text(None, "quiet"),
            look.bars(shape.window, tone="bad" if drifted else "busy") if shape and shape.window
            else look.text(None, "quiet"),
            look.count(row.rows), look.when(row.starts_at),
        )  # fmt: skip

    def preview(self, row: DriftRow, look: Look) -> Sequence[Text]:
        span = Text.assemble(("window ", "dim"), look.when(row.starts_at), (" to ", "dim"), look.when(row.ends_at),
                             ("  rows ", "dim"), look.count(row.rows), ("  ended ", "dim"), look.ago(row.ends_at))  # fmt: skip
        return (Text.assemble(look.text(row.ref, "accent"), "  ", look.text(row.reason)), span)

    def detail(self, row: DriftRow) -> Screen[None]:
        return FeatureScreen(row.key)

    def action_heatmap(self) -> None:
        if self.row is not None:
            self.app.push_screen(HeatmapScreen(self.row.model, self.row.number))
