"""Which entries of the ledger are worth telling a person, and in which words."""

from __future__ import annotations

from dataclasses import dataclass

from mlops_box.box import Box
from mlops_box.errors import NotFoundError
from mlops_box.ledger import Entry
from mlops_box.monitoring.alerts import Severity


@dataclass(frozen=True)
class Notice:
    """One line for a person."""

    project: str
    severity: Severity
    text: str


def notice_of(box: Box, entry: Entry) -> Notice | None:
    """What an entry tells, or ``None`` where nobody needs to know at once."""
    kind, _, act = entry.act.partition(".")
    key = entry.subject.partition(":")[2]
    try:
        if kind == "alert":
            return _of_alert(box, act, key)
        if kind == "decision":
            return _of_decision(box, act, key, entry)
        if kind == "rollout":
            return _of_rollout(box, act, key, entry)
    except NotFoundError:
        return None
    return None


def _of_alert(box: Box, act: str, alert_id: str) -> Notice | None:
    if act not in ("opened", "escalated", "resolved", "reminded", "woken"):
        return None
    alert = box.alerts.get(alert_id)
    said = {
        "opened": "", "escalated": "", "resolved": "resolved: ", "reminded": "still open: ", "woken": "open again: ",
    }[act]  # fmt: skip
    hint = "" if act == "resolved" else f" (mlops-box why {alert.id})"
    severity: Severity = "info" if act == "resolved" else alert.severity
    return Notice(alert.project, severity, f"{said}{alert.title}{hint}")


def _of_decision(box: Box, act: str, decision_id: str, entry: Entry) -> Notice | None:
    decision = box.decisions.get(decision_id)
    if act == "record" and entry.facts.get("state") == "suggested":
        text = f"{decision.model}: retraining is suggested: {decision.reason} (mlops-box decisions accept {decision.id})"
        return Notice(decision.project, "warning", text)
    if act == "failed":
        return Notice(
            decision.project, "error", f"{decision.model}: retraining failed: {entry.facts.get('text', '')}"
        )
    if act == "done":
        return Notice(decision.project, "info", f"{decision.model}: retrained: {entry.facts.get('text', '')}")
    return None


def _of_rollout(box: Box, act: str, rollout_id: str, entry: Entry) -> Notice | None:
    severities: dict[str, Severity] = {
        "rolled_back": "error", "rejected": "warning", "promoted": "info", "champion": "info",
    }  # fmt: skip
    if act not in severities:
        return None
    row = box.db.one("SELECT model FROM rollouts WHERE id = ?", (rollout_id,))
    registered = box.projects.for_model(row["model"]) if row else None
    if registered is None:
        return None
    reason = entry.facts.get("reason", "")
    text = f"{registered.model_name}: rollout {act.replace('_', ' ')}: {reason}"
    return Notice(registered.name, severities[act], text)
