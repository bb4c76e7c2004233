"""Alerts: what was found, how grave, what was made of it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.screen import Screen

from mlops_box.box import Box
from mlops_box.operations.views import AlertRow, Page, Query, alert_detail, list_alerts
from mlops_box_tui.acts.act import act_bindings
from mlops_box_tui.acts.alerts import ACKNOWLEDGE, RESOLVE, SNOOZE, UNACKNOWLEDGE
from mlops_box_tui.acts.data import MONITOR
from mlops_box_tui.acts.decisions import ACCEPT_OF_ALERT
from mlops_box_tui.acts.runs import RETRAIN
from mlops_box_tui.look import Look
from mlops_box_tui.screens.alert import AlertScreen
from mlops_box_tui.views.base import ListView
from mlops_box_tui.widgets.table import Column


class AlertsView(ListView[AlertRow]):
    """Open alerts first."""

    NAME = "alerts"
    ACTS = (ACKNOWLEDGE, SNOOZE, UNACKNOWLEDGE, RESOLVE, ACCEPT_OF_ALERT, RETRAIN, MONITOR)
    BINDINGS = act_bindings(ACTS)
    COLUMNS = (
        Column("severity", "severity", 10, sortable=True),
        Column("state", "state", 10),
        Column("model", "model", 18, sortable=True, drop=1),
        Column("title", "what", 26, flex=True),
        Column("count", "seen", 5, sortable=True, right=True),
        Column("updated", "last", 10, sortable=True, right=True),
        Column("opened", "since", 11, sortable=True, drop=3),
        Column("decision", "decision", 18, drop=2),
    )
    EMPTY = (
        "No alerts. Alerts come from monitoring live traffic against the reference:",
        "mlops-box up\nmlops-box monitor",
    )
    STATES = ("open", "acknowledged", "resolved")

    def fetch(self, box: Box, query: Query) -> Page[AlertRow]:
        return list_alerts(box, query)

    def read_row(self, box: Box, key: str) -> AlertRow:
        return alert_detail(box, key).row

    def key_of(self, row: AlertRow) -> str:
        return row.id

    def cells(self, row: AlertRow, look: Look) -> tuple[Text, ...]:
        return (
            look.state(row.severity) if row.state != "resolved" else look.text(row.severity, "quiet"),
            look.state(row.state), look.text(row.ref, "accent"), look.text(row.title),
            look.text(f"{'x' if look.ascii_only else '×'}{row.count}", "quiet"), look.ago(row.updated_at),
            look.when(row.opened_at), look.text(row.decision, "quiet"),
        )  # fmt: skip

    def preview(self, row: AlertRow, look: Look) -> Sequence[Text]:
        lines = [
            Text.assemble(look.text(row.ref, "accent"), "  ", look.text(row.title)),
            Text.assemble(("opened ", "dim"), look.ago(row.opened_at), ("  decision ", "dim"),
                          look.text(row.decision)),
        ]  # fmt: skip
        if row.note:
            lines[1].append_text(Text.assemble(("  note ", "dim"), look.text(row.note)))
        return lines

    def detail(self, row: AlertRow) -> Screen[None]:
        return AlertScreen(row.id)
