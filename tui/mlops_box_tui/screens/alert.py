"""One alert: the evidence behind it, and what the policy made of it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from mlops_box.box import Box
from mlops_box.operations.views import AlertDetail, AlertRow, alert_detail
from mlops_box_tui.acts.act import act_bindings
from mlops_box_tui.acts.alerts import ACKNOWLEDGE, RESOLVE, SNOOZE, UNACKNOWLEDGE
from mlops_box_tui.acts.decisions import ACCEPT_OF_ALERT
from mlops_box_tui.acts.runs import RETRAIN
from mlops_box_tui.look import Look
from mlops_box_tui.screens.acts import acts_table
from mlops_box_tui.screens.detail import Body, DetailScreen, Link
from mlops_box_tui.screens.evidence import evidence
from mlops_box_tui.widgets.grids import facts, rows


class AlertScreen(DetailScreen[AlertDetail]):
    """An alert by its id or the beginning of it."""

    TABS = ("evidence", "decisions", "alert", "acts")
    ACTS = (ACKNOWLEDGE, SNOOZE, UNACKNOWLEDGE, RESOLVE, ACCEPT_OF_ALERT, RETRAIN)
    BINDINGS = act_bindings(ACTS)

    def fetch(self, box: Box) -> AlertDetail:
        return alert_detail(box, self.subject)

    def subject_of(self, detail: AlertDetail) -> AlertRow:
        return detail.row

    def heading(self, detail: AlertDetail, look: Look) -> Text:
        row = detail.row
        return Text.assemble(
            " ", look.state(row.severity), "  ", look.state(row.state), "  ", look.text(row.ref, "accent"), "  ",
            look.text(row.title),
        )  # fmt: skip

    def body(self, tab: str, detail: AlertDetail, look: Look) -> Body:
        row = detail.row
        match tab:
            case "evidence":
                return Body(evidence(detail.finding, look))
            case "decisions":
                return Body([
                    rows(("decided", "act", "mode", "state", "why"),
                         [(look.when(d.decided_at), d.act, d.mode, look.state(d.state), d.reason)
                          for d in detail.decisions],
                         look, empty="the policy has not decided on this alert"),
                ])  # fmt: skip
            case "alert":
                return Body([facts([
                    ("id", row.id), ("kind", row.kind), ("project", row.project), ("model", row.ref),
                    ("seen", f"{row.count} times"),
                    ("opened", f"{row.opened_at:%Y-%m-%d %H:%M:%S} UTC" if row.opened_at else None),
                    ("last seen", f"{row.updated_at:%Y-%m-%d %H:%M:%S} UTC" if row.updated_at else None),
                    ("resolved", f"{row.resolved_at:%Y-%m-%d %H:%M:%S} UTC" if row.resolved_at else None),
                    ("note", row.note),
                ], look)])  # fmt: skip
        return Body([acts_table(detail.acts, look)])

    def links(self, detail: AlertDetail) -> Sequence[Link]:
        row = detail.row
        found = [Link(cause.kind, cause.id, cause.why) for cause in detail.causes]
        found += [Link("decision", d.id, f"{d.act}, {d.state}") for d in detail.decisions]
        found += [
            Link("run", d.run_id, f"came of the decision to {d.act}") for d in detail.decisions if d.run_id
        ]
        if row.number is not None:
            found.append(Link("version", row.ref, "what it is about"))
        drift = detail.finding.drift
        if drift is not None:
            found += [
                Link("feature", f"{row.model}/{name}", "drifted: its history") for name in drift.drifted[:10]
            ]
        return found
