"""Decisions: what the policy did, or would have done, and why."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.screen import Screen

from mlops_box.box import Box
from mlops_box.operations.views import DecisionRow, Page, Query, decision_detail, list_decisions
from mlops_box_tui.acts.act import act_bindings
from mlops_box_tui.acts.decisions import ACCEPT, DECLINE
from mlops_box_tui.look import Look
from mlops_box_tui.screens.decision import DecisionScreen
from mlops_box_tui.views.base import ListView
from mlops_box_tui.widgets.table import Column


class DecisionsView(ListView[DecisionRow]):
    """All decisions, newest first."""

    NAME = "decisions"
    ACTS = (ACCEPT, DECLINE)
    BINDINGS = act_bindings(ACTS)
    COLUMNS = (
        Column("state", "state", 12, sortable=True),
        Column("act", "act", 9),
        Column("model", "model", 16, sortable=True),
        Column("mode", "mode", 8, drop=1),
        Column("trigger", "trigger", 9, drop=2),
        Column("reason", "why", 26, flex=True),
        Column("decided", "decided", 11, sortable=True),
        Column("run", "run", 22, drop=3),
    )
    EMPTY = (
        "No decisions yet. The policy of [retrain] in mlops.toml decides after monitoring:",
        "mlops-box monitor",
    )
    STATES = ("withheld", "suggested", "pending", "issued", "done", "failed")

    def fetch(self, box: Box, query: Query) -> Page[DecisionRow]:
        return list_decisions(box, query)

    def read_row(self, box: Box, key: str) -> DecisionRow:
        return decision_detail(box, key).row

    def key_of(self, row: DecisionRow) -> str:
        return row.id

    def cells(self, row: DecisionRow, look: Look) -> tuple[Text, ...]:
        return (
            look.state(row.state), look.text(row.act), look.text(row.model, "accent"), look.text(row.mode),
            look.text(row.trigger), look.text(row.reason), look.when(row.decided_at), look.text(row.run_id, "quiet"),
        )  # fmt: skip

    def preview(self, row: DecisionRow, look: Look) -> Sequence[Text]:
        return (
            Text.assemble(look.text(f"{row.act} {row.model}"), "  ", look.state(row.state), "  ",
                          look.ago(row.decided_at), ("  run ", "dim"), look.text(row.run_id)),
            look.text(row.reason),
        )  # fmt: skip

    def detail(self, row: DecisionRow) -> Screen[None]:
        return DecisionScreen(row.id)
