"""Alerts: opened once, counted while they last, resolved when the champion is seen to be fine again.

At most one unresolved alert per model and kind: which columns are concerned may change from window to window, the
alert stays the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from mlops_box.canonical import canonical_json, digest_of
from mlops_box.clock import Clock, isoformat, parse_time
from mlops_box.db import Database, Row, Transaction
from mlops_box.errors import NotFoundError, UsageError
from mlops_box.ids import new_id
from mlops_box.ledger import Ledger

AlertKind = Literal["drift", "quality", "data", "pipeline", "device", "parity"]
AlertState = Literal["open", "acknowledged", "resolved"]
Severity = Literal["info", "warning", "error"]
SEVERITY_RANK: dict[str, int] = {"info": 0, "warning": 1, "error": 2}


@dataclass(frozen=True)
class Alert:
    """One alert; ``finding`` is the newest evidence, ``count`` how many pieces of it there were."""

    id: str
    project: str
    model: str
    number: int | None
    kind: AlertKind
    severity: Severity
    state: AlertState
    title: str
    finding: dict[str, Any]
    count: int
    opened_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    note: str
    snoozed_until: datetime | None = None

    def is_snoozed(self, now: datetime) -> bool:
        return self.snoozed_until is not None and now < self.snoozed_until

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id, "project": self.project, "model": self.model, "number": self.number,
            "kind": self.kind, "severity": self.severity, "state": self.state, "title": self.title,
            "count": self.count, "opened_at": isoformat(self.opened_at),
            "updated_at": isoformat(self.updated_at),
            "resolved_at": isoformat(self.resolved_at) if self.resolved_at else None,
            "snoozed_until": isoformat(self.snoozed_until) if self.snoozed_until else None,
            "note": self.note, "finding": self.finding,
        }  # fmt: skip


@dataclass(frozen=True)
class AlertChange:
    """What happened to one alert in this run: ``opened``, ``updated`` or ``resolved``."""

    change: str
    alert: Alert


@dataclass(frozen=True)
class Raised:
    """What raising did: ``opened`` a new alert, ``updated`` one with new evidence, or neither: it was known."""

    alert: Alert
    change: Literal["opened", "updated", "known"]


class AlertStore:
    """Open, update, acknowledge, resolve; every change stands in the ledger."""

    def __init__(self, db: Database, ledger: Ledger, clock: Clock):
        self._db = db
        self._ledger = ledger
        self._clock = clock

    def raise_or_update(
        self,
        *,
        project: str,
        model: str,
        number: int | None,
        kind: AlertKind,
        severity: Severity,
        title: str,
        finding: dict[str, Any],
    ) -> Raised:
        """Open an alert, or count new evidence on the one that is unresolved; the same evidence changes nothing."""
        now = isoformat(self._clock.now())
        dedupe = f"{model}:{kind}"
        with self._db.write() as tx:
            known = tx.one("SELECT * FROM alerts WHERE dedupe = ? AND state <> 'resolved'", (dedupe,))
            evidence = canonical_json(finding)
            if known and known["number"] == number and digest_of(json.loads(known["finding"])) == digest_of(
                json.loads(evidence)
            ):  # fmt: skip
                return Raised(_alert(known), "known")
            changes: Row = {
                "project": project, "model": model, "number": number, "kind": kind, "severity": severity,
                "title": title, "finding": evidence, "updated_at": now,
            }  # fmt: skip
            if known:
                row = {**known, **changes, "count": known["count"] + 1}
                tx.insert("alerts", row, replace=True)
            else:
                row = {
                    "id": new_id(self._clock), "dedupe": dedupe, "state": "open", "count": 1,
                    "opened_at": now, "resolved_at": None, "note": "", "snoozed_until": None, **changes,
                }  # fmt: skip
                tx.insert("alerts", row)
            change: Literal["opened", "updated"] = "updated" if known else "opened"
            facts = {"title": title, "count": row["count"], "number": number}
            self._ledger.append(tx, f"alert.{change}", f"alert:{row['id']}", facts)
            if known and SEVERITY_RANK[severity] > SEVERITY_RANK[known["severity"]]:
                graver = {"title": title, "severity": severity, "was": known["severity"]}
                self._ledger.append(tx, "alert.escalated", f"alert:{row['id']}", graver)
        return Raised(_alert(row), change)

    def resolve(self, alert_id: str, *, reason: str) -> Alert:
        """Close an alert; closing it again changes nothing."""
        with self._db.write() as tx:
            row = self._row(tx, alert_id)
            if row["state"] == "resolved":
                return _alert(row)
            now = isoformat(self._clock.now())
            row |= {"state": "resolved", "resolved_at": now, "updated_at": now}
            tx.execute(
                "UPDATE alerts SET state = 'resolved', resolved_at = ?, updated_at = ? WHERE id = ?",
                (now, now, row["id"]),
            )
            self._ledger.append(tx, "alert.resolved", f"alert:{row['id']}", {"reason": reason})
        return _alert(row)

    def acknowledge(self, alert_id: str, note: str) -> Alert:
        """Say that somebody knows; the alert goes on counting and resolves by itself.

        Raises:
            NotFoundError: No such alert.
            UsageError: It is resolved already, or the note is empty.
        """
        if not note.strip():
            raise UsageError(
                "an acknowledgement needs a note: what is known, what is done",
                hint="--note 'sensor 3 is replaced'",
            )
        return self._change(alert_id, "acknowledged", {"state": "acknowledged", "note": note}, {"note": note})

    def unacknowledge(self, alert_id: str) -> Alert:
        """Take an acknowledgement (and a snooze) back; the note stays in the ledger.

        Raises:
            NotFoundError: No such alert.
            UsageError: It is resolved already.
        """
        changes: Row = {"state": "open", "note": "", "snoozed_until": None}
        return self._change(alert_id, "unacknowledged", changes, {})

    def snooze(self, alert_id: str, until: datetime, note: str) -> Alert:
        """Acknowledge, and be quiet until then: it goes on counting, but notifies nobody. Then it is open again.

        Raises:
            NotFoundError: No such alert.
            UsageError: It is resolved already, the note is empty, or the time has passed.
        """
        if not note.strip():
            raise UsageError(
                "a snooze needs a note: why it can wait", hint="--note 'the vendor comes on Monday'"
            )
        if until <= self._clock.now():
            raise UsageError(f"{isoformat(until)} has passed", hint="--for 2d")
        changes: Row = {"state": "acknowledged", "note": note, "snoozed_until": isoformat(until)}
        return self._change(alert_id, "snoozed", changes, {"note": note, "until": isoformat(until)})

    def wake(self) -> list[Alert]:
        """Open the alerts again whose snooze has ended; returns them."""
        now = isoformat(self._clock.now())
        rows = self._db.read(
            "SELECT id FROM alerts WHERE snoozed_until <= ? AND state = 'acknowledged' ORDER BY id", (now,)
        )
        changes: Row = {"state": "open", "snoozed_until": None}
        return [self._change(row["id"], "woken", changes, {}) for row in rows]

    def _change(self, alert_id: str, act: str, changes: Row, facts: dict[str, Any]) -> Alert:
        """Change an unresolved alert; what is so already changes nothing."""
        with self._db.write() as tx:
            row = self._row(tx, alert_id)
            if row["state"] == "resolved":
                raise UsageError(f"alert {row['id']} is resolved already", hint="mlops-box alerts list")
            if all(row[key] == value for key, value in changes.items()):
                return _alert(row)
            row |= {**changes, "updated_at": isoformat(self._clock.now())}
            tx.insert("alerts", row, replace=True)
            self._ledger.append(tx, f"alert.{act}", f"alert:{row['id']}", facts)
        return _alert(row)

    def get(self, alert_id: str) -> Alert:
        """One alert by its id or an unambiguous beginning of it.

        Raises:
            NotFoundError: None, or more than one.
        """
        return _alert(self._row(self._db, alert_id))

    def unresolved(self, model: str, kind: AlertKind) -> Alert | None:
        """The alert of this kind that is open or acknowledged."""
        row = self._db.one(
            "SELECT * FROM alerts WHERE dedupe = ? AND state <> 'resolved'", (f"{model}:{kind}",)
        )
        return _alert(row) if row else None

    def list(
        self, *, state: AlertState | None = None, model: str | None = None, limit: int = 100
    ) -> list[Alert]:
        """The alerts changed last, newest first."""
        rows = self._db.read(
            "SELECT * FROM alerts WHERE (:state IS NULL OR state = :state) AND (:model IS NULL OR model = :model) "
            "ORDER BY updated_at DESC, id DESC LIMIT :limit",
            {"state": state, "model": model, "limit": limit},
        )
        return [_alert(row) for row in rows]

    def _row(self, reader: Database | Transaction, alert_id: str) -> Row:
        rows = reader.read(
            "SELECT * FROM alerts WHERE substr(id, 1, ?) = ? LIMIT 2", (len(alert_id), alert_id)
        )
        if len(rows) != 1 or not alert_id:
            raise NotFoundError(
                f"no alert {alert_id!r}" if len(rows) != 2 else f"several alerts begin with {alert_id!r}",
                hint="mlops-box alerts list",
            )
        return rows[0]


def _alert(row: Row) -> Alert:
    return Alert(
        id=row["id"], project=row["project"], model=row["model"], number=row["number"], kind=row["kind"],
        severity=row["severity"], state=row["state"], title=row["title"], finding=json.loads(row["finding"]),
        count=row["count"], opened_at=parse_time(row["opened_at"]), updated_at=parse_time(row["updated_at"]),
        resolved_at=parse_time(row["resolved_at"]) if row["resolved_at"] else None, note=row["note"],
        snoozed_until=parse_time(row["snoozed_until"]) if row["snoozed_until"] else None,
    )  # fmt: skip
