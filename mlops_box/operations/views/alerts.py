"""Alerts and decisions as a person looks at them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlops_box.box import Box
from mlops_box.db import Row
from mlops_box.errors import NotFoundError
from mlops_box.ledger import Entry
from mlops_box.operations.views.causes import Cause, causes_of
from mlops_box.operations.views.paging import Page, Query, Resource
from mlops_box.operations.views.reading import mapping, moment

if TYPE_CHECKING:
    from mlops_box.operations.views.findings import FindingView


@dataclass(frozen=True)
class AlertRow:
    """One line of the alerts table; ``count`` is how often it was found again."""

    id: str
    severity: str
    state: str
    kind: str
    project: str
    model: str
    number: int | None
    title: str
    count: int
    opened_at: datetime | None
    updated_at: datetime | None
    resolved_at: datetime | None
    note: str
    decision: str | None

    @property
    def ref(self) -> str:
        return self.model if self.number is None else f"{self.model}@{self.number}"


@dataclass(frozen=True)
class DecisionRow:
    """One line of the decisions table."""

    id: str
    project: str
    model: str
    trigger: str
    mode: str
    act: str
    state: str
    reason: str
    alert_id: str | None
    run_id: str | None
    decided_at: datetime | None
    updated_at: datetime | None


@dataclass(frozen=True)
class AlertDetail:
    """One alert whole: what was found, the causes that it names, and what the policy made of it."""

    row: AlertRow
    finding: FindingView
    causes: tuple[Cause, ...]
    decisions: tuple[DecisionRow, ...]
    acts: tuple[Entry, ...]


@dataclass(frozen=True)
class DecisionDetail:
    """One decision whole, with the facts it rests on and the run and version that came of it."""

    row: DecisionRow
    facts: dict[str, Any]
    alert: AlertRow | None
    run_state: str | None
    version: str | None
    acts: tuple[Entry, ...]


_ALERTS = """
SELECT alerts.*,
  (SELECT act || ' ' || state FROM decisions WHERE alert_id = alerts.id ORDER BY decided_at DESC LIMIT 1) AS decision,
  CASE severity WHEN 'error' THEN 2 WHEN 'warning' THEN 1 ELSE 0 END AS weight,
  CASE state WHEN 'open' THEN 0 WHEN 'acknowledged' THEN 1 ELSE 2 END AS stage
FROM alerts
"""


def _alert(row: Row) -> AlertRow:
    return AlertRow(
        id=row["id"], severity=row["severity"], state=row["state"], kind=row["kind"], project=row["project"],
        model=row["model"], number=row["number"], title=row["title"], count=row["count"],
        opened_at=moment(row["opened_at"]), updated_at=moment(row["updated_at"]),
        resolved_at=moment(row["resolved_at"]), note=row["note"], decision=row["decision"],
    )  # fmt: skip


ALERTS: Resource[AlertRow] = Resource(
    select=_ALERTS,
    build=_alert,
    fields={
        "state": "state", "severity": "severity", "model": "model", "kind": "kind", "project": "project",
        "id": "id",
    },
    text=("id", "title", "model", "kind", "severity", "state", "note"),
    order="stage, weight DESC, updated_at DESC, id",
    sorts={"updated": "updated_at", "opened": "opened_at", "severity": "weight", "model": "model", "count": "count"},
    problems="state = 'open'",
    scope="model",
)  # fmt: skip


def _decision(row: Row) -> DecisionRow:
    return DecisionRow(
        id=row["id"], project=row["project"], model=row["model"], trigger=row["trigger"], mode=row["mode"],
        act=row["act"], state=row["state"], reason=row["reason"], alert_id=row["alert_id"], run_id=row["run_id"],
        decided_at=moment(row["decided_at"]), updated_at=moment(row["updated_at"]),
    )  # fmt: skip


DECISIONS: Resource[DecisionRow] = Resource(
    select="SELECT * FROM decisions",
    build=_decision,
    fields={
        "state": "state", "mode": "mode", "model": "model", "act": "act", "trigger": "trigger",
        "project": "project", "id": "id",
    },
    text=("id", "model", "act", "trigger", "state", "reason"),
    order="decided_at DESC, id DESC",
    sorts={"decided": "decided_at", "updated": "updated_at", "model": "model", "state": "state"},
    problems="state IN ('suggested', 'failed', 'pending')",
    scope="model",
)  # fmt: skip


def list_alerts(box: Box, query: Query) -> Page[AlertRow]:
    """A page of alerts: open before acknowledged before resolved, grave before light, newest first."""
    return ALERTS.page(box, query)


def list_decisions(box: Box, query: Query) -> Page[DecisionRow]:
    """A page of decisions, newest first."""
    return DECISIONS.page(box, query)


def alert_detail(box: Box, alert_id: str) -> AlertDetail:
    """One alert whole.

    Raises:
        NotFoundError: There is none, or more than one begins so.
    """
    # What monitoring finds, and how it is told: a list of alerts does without.
    from mlops_box.operations.views.findings import read_finding

    row = _only(box, _ALERTS, alert_id, what="alert")
    decisions = box.db.read(
        "SELECT * FROM decisions WHERE alert_id = ? ORDER BY decided_at DESC LIMIT 50", (row["id"],)
    )
    finding = mapping(row["finding"])
    return AlertDetail(
        row=_alert(row),
        finding=read_finding(finding),
        causes=causes_of(finding),
        decisions=tuple(_decision(item) for item in decisions),
        acts=tuple(reversed(box.ledger.entries(subject=f"alert:{row['id']}"))),
    )


def decision_detail(box: Box, decision_id: str) -> DecisionDetail:
    """One decision whole.

    Raises:
        NotFoundError: There is none, or more than one begins so.
    """
    row = _only(box, "SELECT * FROM decisions", decision_id, what="decision")
    alert = (
        box.db.one(f"SELECT * FROM ({_ALERTS}) WHERE id = ?", (row["alert_id"],)) if row["alert_id"] else None
    )
    run = box.db.one("SELECT state FROM runs WHERE id = ?", (row["run_id"],)) if row["run_id"] else None
    version = (
        box.db.one("SELECT model, number FROM versions WHERE run_id = ?", (row["run_id"],)) if run else None
    )
    return DecisionDetail(
        row=_decision(row),
        facts=mapping(row["facts"]),
        alert=_alert(alert) if alert else None,
        run_state=run["state"] if run else None,
        version=f"{version['model']}@{version['number']}" if version else None,
        acts=tuple(reversed(box.ledger.entries(subject=f"decision:{row['id']}"))),
    )


def _only(box: Box, select: str, prefix: str, *, what: str) -> Row:
    rows = box.db.read(
        f"SELECT * FROM ({select}) WHERE id = :id OR substr(id, 1, length(:id)) = :id "
        "ORDER BY id <> :id LIMIT 2",
        {"id": prefix},
    )
    if not prefix or not rows or (len(rows) > 1 and rows[0]["id"] != prefix):
        raise NotFoundError(f"no {what} {prefix!r}", hint=f"mlops-box {what}s list")
    return rows[0]
