"""One decision: why, on which facts, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from mlops_box.box import Box
from mlops_box.operations.views import DecisionDetail, DecisionRow, decision_detail
from mlops_box_tui.acts.act import act_bindings
from mlops_box_tui.acts.decisions import ACCEPT, DECLINE
from mlops_box_tui.look import Look
from mlops_box_tui.screens.acts import acts_table
from mlops_box_tui.screens.detail import Body, DetailScreen, Link
from mlops_box_tui.widgets.grids import facts, heading, shown, tree


class DecisionScreen(DetailScreen[DecisionDetail]):
    """A decision by its id or the beginning of it."""

    TABS = ("why", "facts", "acts")
    ACTS = (ACCEPT, DECLINE)
    BINDINGS = act_bindings(ACTS)

    def fetch(self, box: Box) -> DecisionDetail:
        return decision_detail(box, self.subject)

    def subject_of(self, detail: DecisionDetail) -> DecisionRow:
        return detail.row

    def heading(self, detail: DecisionDetail, look: Look) -> Text:
        row = detail.row
        return Text.assemble(
            " ", look.text(f"{row.act} {row.model}"), "  ", look.state(row.state), ("  mode ", "dim"),
            look.text(row.mode), "  ", look.ago(row.decided_at),
        )  # fmt: skip

    def body(self, tab: str, detail: DecisionDetail, look: Look) -> Body:
        row = detail.row
        match tab:
            case "why":
                return Body([
                    shown(row.reason, look),
                    heading("what led to it, what came of it"),
                    facts([
                        ("trigger", row.trigger), ("alert", detail.alert.title if detail.alert else None),
                        ("run", look.state(detail.run_state) if detail.run_state else None),
                        ("new version", detail.version),
                        ("decided", f"{row.decided_at:%Y-%m-%d %H:%M:%S} UTC" if row.decided_at else None),
                        ("id", row.id),
                    ], look),
                ])  # fmt: skip
            case "facts":
                return Body([tree(detail.facts, look)])
        return Body([acts_table(detail.acts, look)])

    def links(self, detail: DecisionDetail) -> Sequence[Link]:
        found = []
        if detail.row.alert_id:
            found.append(Link("alert", detail.row.alert_id, "led to it"))
        if detail.row.run_id and detail.run_state:
            found.append(Link("run", detail.row.run_id, "came of it"))
        if detail.version:
            found.append(Link("version", detail.version, "registered by that run"))
        return found
