"""Decisions: written before they act, so that a crash between the two repeats the act and not the decision."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from mlops_box.canonical import canonical_json
from mlops_box.clock import Clock, isoformat, parse_time
from mlops_box.db import Database, Row, Transaction
from mlops_box.errors import NotFoundError, UsageError
from mlops_box.ids import new_id
from mlops_box.ledger import Ledger
from mlops_box.monitoring.policy import DecisionDraft, History
from mlops_box.project.retrain import Mode

DecisionState = Literal["withheld", "suggested", "pending", "issued", "done", "failed"]


@dataclass(frozen=True)
class Decision:
    """What the policy decided.

    ``withheld``: nothing was done, ``reason`` says why not. ``suggested``: waits for a person. ``pending``: will be
    started. ``issued``: started, ``run_id`` names the run (or flow run). ``done`` or ``failed``: it ended; the result
    is in ``facts["result"]``.
    """

    id: str
    idempotency_key: str
    project: str
    model: str
    alert_id: str | None
    trigger: str
    mode: Mode
    act: str
    state: DecisionState
    reason: str
    facts: dict[str, Any]
    run_id: str | None
    decided_at: datetime
    updated_at: datetime

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id, "idempotency_key": self.idempotency_key, "project": self.project, "model": self.model,
            "alert_id": self.alert_id, "trigger": self.trigger, "mode": self.mode, "act": self.act,
            "state": self.state, "reason": self.reason, "facts": self.facts, "run_id": self.run_id,
            "decided_at": isoformat(self.decided_at), "updated_at": isoformat(self.updated_at),
        }  # fmt: skip


class DecisionStore:
    """One decision per evidence; a withheld one may be revised by a later look at the same evidence."""

    def __init__(self, db: Database, ledger: Ledger, clock: Clock):
        self._db = db
        self._ledger = ledger
        self._clock = clock

    def record(self, draft: DecisionDraft) -> Decision:
        """Write a decision; the one already made on this evidence is returned, unless the policy (not a person) withheld it."""
        trigger = draft.trigger
        now = isoformat(self._clock.now())
        with self._db.write() as tx:
            known = tx.one("SELECT * FROM decisions WHERE idempotency_key = ?", (trigger.idempotency_key,))
            if known and (known["state"] != "withheld" or draft.state == "withheld" or _declined(known)):
                return _decision(known)
            row: Row = {
                "id": known["id"] if known else new_id(self._clock),
                "idempotency_key": trigger.idempotency_key, "project": trigger.project, "model": trigger.model,
                "alert_id": trigger.alert_id, "trigger": trigger.name, "mode": draft.mode, "act": draft.act,
                "state": draft.state, "reason": draft.reason, "facts": canonical_json(draft.facts), "run_id": None,
                "decided_at": now, "updated_at": now,
            }  # fmt: skip
            tx.insert("decisions", row, replace=True)
            facts = {"state": draft.state, "reason": draft.reason, "key": trigger.idempotency_key}
            self._ledger.append(tx, "decision.record", f"decision:{row['id']}", facts)
        return _decision(row)

    def accept(self, decision_id: str) -> Decision:
        """Turn a suggestion into a pending act; accepting it again changes nothing.

        Raises:
            NotFoundError: No such decision.
            UsageError: It is no suggestion (any more).
        """
        with self._db.write() as tx:
            row = self._row(tx, decision_id)
            if row["state"] == "pending":
                return _decision(row)
            if row["state"] != "suggested":
                raise UsageError(
                    f"decision {row['id']} is {row['state']}, only a suggestion can be accepted",
                    hint="mlops-box decisions list --state suggested",
                )
            return self._change(tx, row, "pending", {"accepted_by": self._ledger.actor})

    def decline(self, decision_id: str, *, reason: str) -> Decision:
        """Turn a suggestion down: it is withheld, and not made again on the same evidence; again, it changes nothing.

        Raises:
            NotFoundError: No such decision.
            UsageError: It is no suggestion (any more).
        """
        with self._db.write() as tx:
            row = self._row(tx, decision_id)
            if row["state"] == "withheld" and _declined(row):
                return _decision(row)
            if row["state"] != "suggested":
                raise UsageError(
                    f"decision {row['id']} is {row['state']}, only a suggestion can be declined",
                    hint="mlops-box decisions list --state suggested",
                )
            row["reason"] = f"declined by {self._ledger.actor}: {reason}"
            return self._change(tx, row, "withheld", {"declined_by": self._ledger.actor, "declined": reason})

    def mark(
        self, decision_id: str, state: DecisionState, *, run_id: str | None = None, **facts: Any
    ) -> Decision:
        """Move a decision on and add facts; the same state again only adds what is new."""
        with self._db.write() as tx:
            row = self._row(tx, decision_id)
            if run_id is not None:
                row["run_id"] = run_id
            return self._change(tx, row, state, facts)

    def history(self, model: str) -> History:
        """What the policy must know of earlier decisions for a model.

        Failed starts count for the cooldown too: what cannot be trained now is not tried every ten minutes.
        """
        rows = self._db.read(
            "SELECT id, state, updated_at, facts FROM decisions WHERE model = ? AND state <> 'withheld' "
            "ORDER BY updated_at DESC",
            (model,),
        )
        issued = [json.loads(row["facts"]).get("issued_at") for row in rows]
        times = sorted((parse_time(text) for text in issued if text), reverse=True)
        first = {row["state"]: row["id"] for row in reversed(rows)}
        return History(
            issued_at=tuple(times),
            under_way=first.get("issued") or first.get("pending"),
            suggested=first.get("suggested"),
        )

    def get(self, decision_id: str) -> Decision:
        """One decision by its id or an unambiguous beginning of it.

        Raises:
            NotFoundError: None, or more than one.
        """
        return _decision(self._row(self._db, decision_id))

    def by_key(self, idempotency_key: str) -> Decision | None:
        """The decision made on a piece of evidence, if one was."""
        row = self._db.one("SELECT * FROM decisions WHERE idempotency_key = ?", (idempotency_key,))
        return _decision(row) if row else None

    def list(
        self, *, state: DecisionState | None = None, model: str | None = None, limit: int = 100
    ) -> list[Decision]:
        """The newest decisions, newest first."""
        rows = self._db.read(
            "SELECT * FROM decisions WHERE (:state IS NULL OR state = :state) "
            "AND (:model IS NULL OR model = :model) ORDER BY decided_at DESC, id DESC LIMIT :limit",
            {"state": state, "model": model, "limit": limit},
        )
        return [_decision(row) for row in rows]

    def _change(self, tx: Transaction, row: Row, state: DecisionState, facts: dict[str, Any]) -> Decision:
        merged = json.loads(row["facts"]) | facts
        changed = {
            **row, "state": state, "facts": canonical_json(merged), "updated_at": isoformat(self._clock.now()),
        }  # fmt: skip
        tx.insert("decisions", changed, replace=True)
        self._ledger.append(
            tx, f"decision.{state}", f"decision:{row['id']}", {"run_id": row["run_id"], **facts}
        )
        return _decision(changed)

    def _row(self, reader: Database | Transaction, decision_id: str) -> Row:
        rows = reader.read(
            "SELECT * FROM decisions WHERE substr(id, 1, ?) = ? LIMIT 2", (len(decision_id), decision_id)
        )
        if len(rows) != 1 or not decision_id:
            raise NotFoundError(
                f"no decision {decision_id!r}"
                if len(rows) != 2
                else f"several decisions begin with {decision_id!r}",
                hint="mlops-box decisions list",
            )
        return rows[0]


def _declined(row: Row) -> bool:
    return "declined_by" in json.loads(row["facts"])


def _decision(row: Row) -> Decision:
    return Decision(
        id=row["id"], idempotency_key=row["idempotency_key"], project=row["project"], model=row["model"],
        alert_id=row["alert_id"], trigger=row["trigger"], mode=row["mode"], act=row["act"], state=row["state"],
        reason=row["reason"], facts=json.loads(row["facts"]), run_id=row["run_id"],
        decided_at=parse_time(row["decided_at"]), updated_at=parse_time(row["updated_at"]),
    )  # fmt: skip
