"""Rollouts in box.db: each transition is one transaction, with its ledger entry and the aliases it moves.

Any process may try a transition: it is a compare-and-set on (state, step, revision), so that of several that decide the same
at once, one does it and the others change nothing. There is no leader, and nothing to recover after a crash.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops_box.clock import Clock, isoformat, parse_time
from mlops_box.db import Database, Row, Transaction
from mlops_box.errors import BusyError, NotFoundError, UsageError
from mlops_box.ids import new_id
from mlops_box.ledger import Ledger
from mlops_box.models.store import CHAMPION, ModelStore
from mlops_box.models.values import ModelVersion
from mlops_box.serving.rollout.evidence import (
    Counts,
    EvidenceRow,
    StageEvidence,
    merged,
)
from mlops_box.serving.rollout.plan import LiveState, Plan
from mlops_box.serving.rollout.states import Rollout, Transition, failed_state
from mlops_box.serving.rollout.yardstick import Yardstick

_OPEN = "('proposed', 'shadow', 'canary')"


@dataclass(frozen=True)
class Champion:
    """A model's serving version, and since when."""

    number: int
    since: datetime


class RolloutStore:
    """Keeps rollouts and their evidence."""

    def __init__(self, db: Database, models: ModelStore, ledger: Ledger, clock: Clock):
        self._db = db
        self._models = models
        self._ledger = ledger
        self._clock = clock

    def propose(
        self, version: ModelVersion, *, base: int, plan: Plan, yardstick: Yardstick, reason: str
    ) -> Rollout:
        """Propose a version; one that is on its way already is returned as it is. A version that still waits gives way.

        Args:
            base: The number of the champion it was compared with.

        Raises:
            UsageError: The plan has no stage, or another champion serves.
        """
        if not plan.is_declared:
            raise UsageError("a rollout needs a stage", hint="declare shadow or canary under [serve] rollout")
        now = isoformat(self._clock.now())
        with self._db.write() as tx:
            rows = tx.read(f"SELECT * FROM rollouts WHERE model = ? AND state IN {_OPEN}", (version.model,))
            for row in rows:
                if row["number"] == version.number:
                    return _rollout(row)
            champion = _champion(tx, version.model)
            if champion is None or champion.number != base:
                serving = f"{version.model}@{champion.number}" if champion else "nothing"
                raise UsageError(
                    f"{version.ref} was compared with {version.model}@{base}, but {serving} serves",
                    hint="train again",
                )
            for row in rows:
                if row["state"] == "proposed":
                    self._move(tx, _rollout(row), Transition("rejected", 0, f"{version.ref} came after it"))
            fresh: Row = {
                "id": new_id(self._clock), "model": version.model, "number": version.number, "base": base,
                "base_since": isoformat(champion.since), "project": version.project, "state": "proposed", "step": 0, "revision": 0,
                "plan": plan.model_dump_json(), "yardstick": yardstick.to_json(), "reason": reason,
                "proposed_at": now, "started_at": None, "stage_at": now, "paused_at": None, "ended_at": None,
            }  # fmt: skip
            tx.insert("rollouts", fresh)
            facts = {"version": version.ref, "base": f"{version.model}@{base}", "reason": reason}
            self._ledger.append(tx, "rollout.proposed", f"rollout:{fresh['id']}", facts)
        return _rollout(fresh)

    def move(self, rollout: Rollout, transition: Transition) -> Rollout | None:
        """Make a transition, unless the rollout is not what it was any more: then nothing happens and ``None`` is returned.

        Raises:
            GateError: It would become champion, but its gates rejected it.
        """
        with self._db.write() as tx:
            if not _is_unchanged(tx, rollout):
                return None
            if not _still_holds(transition, rollout, _champion(tx, rollout.model)):
                return None
            if transition.state in ("shadow", "canary") and _other_live(tx, rollout):
                return None
            return self._move(tx, rollout, transition)

    def set_paused(self, rollout: Rollout, paused: bool, *, reason: str) -> Rollout:
        """Hold a rollout where it is, or let it go on; its clock stands still meanwhile. Again, it changes nothing.

        Raises:
            BusyError: It changed at this very moment.
        """
        if paused == (rollout.paused_at is not None):
            return rollout
        now = self._clock.now()
        changed: dict[str, Any] = {"paused_at": isoformat(now) if paused else None, "reason": reason}
        if rollout.paused_at is not None:
            stood = now - rollout.paused_at
            changed["stage_at"] = isoformat(rollout.stage_at + stood)
            changed["started_at"] = isoformat(rollout.started_at + stood) if rollout.started_at else None
        with self._db.write() as tx:
            if not _is_unchanged(tx, rollout):
                raise BusyError(
                    f"the rollout of {rollout.ref} changed just now", hint="mlops-box rollout status"
                )
            facts = {"version": rollout.ref, "state": rollout.state, "step": rollout.step, "reason": reason}
            act = "rollout.paused" if paused else "rollout.resumed"
            return self._write(tx, rollout, changed, act, facts)

    def get(self, rollout_id: str) -> Rollout:
        """One rollout by its id or an unambiguous beginning of it.

        Raises:
            NotFoundError: None, or more than one.
        """
        rows = self._db.read(
            "SELECT * FROM rollouts WHERE substr(id, 1, ?) = ? LIMIT 2", (len(rollout_id), rollout_id)
        )
        if len(rows) != 1 or not rollout_id:
            found = "several rollouts begin with" if len(rows) == 2 else "no rollout"
            raise NotFoundError(f"{found} {rollout_id!r}", hint="mlops-box rollout list")
        return _rollout(rows[0])

    def open(self, model: str | None = None) -> list[Rollout]:
        """Those that are not over, the live one of a model before the waiting one."""
        rows = self._db.read(
            f"SELECT * FROM rollouts WHERE state IN {_OPEN} AND (:model IS NULL OR model = :model) "
            "ORDER BY model, state = 'proposed', proposed_at",
            {"model": model},
        )
        return [_rollout(row) for row in rows]

    def list(self, model: str | None = None, *, limit: int = 100) -> list[Rollout]:
        """The newest rollouts, newest first."""
        rows = self._db.read(
            "SELECT * FROM rollouts WHERE (:model IS NULL OR model = :model) "
            "ORDER BY proposed_at DESC, id DESC LIMIT :limit",
            {"model": model, "limit": limit},
        )
        return [_rollout(row) for row in rows]

    def last_failure_at(self, model: str) -> datetime | None:
        """When the model's newest rollout that had begun was rejected or rolled back."""
        row = self._db.one(
            "SELECT MAX(ended_at) AS at FROM rollouts WHERE model = ? AND started_at IS NOT NULL "
            "AND state IN ('rejected', 'rolled_back')",
            (model,),
        )
        return parse_time(row["at"]) if row and row["at"] else None

    def champion(self, model: str) -> Champion | None:
        """What serves."""
        return _champion(self._db, model)

    def put_evidence(self, rollout_id: str, process: str, rows: Iterable[EvidenceRow]) -> None:
        """Write what one process has counted so far, over what it wrote before."""
        now = isoformat(self._clock.now())
        with self._db.write() as tx:
            for row in rows:
                tx.insert(
                    "rollout_evidence",
                    {
                        "rollout_id": rollout_id, "state": row.state, "step": row.step, "variant": row.variant,
                        "process": process, "counts": row.counts.to_json(), "updated_at": now,
                    },
                    replace=True,
                )  # fmt: skip

    def evidence(self, rollout_id: str) -> Mapping[tuple[LiveState, int], StageEvidence]:
        """What all processes have counted, by stage."""
        rows = self._db.read(
            "SELECT state, step, variant, counts FROM rollout_evidence WHERE rollout_id = ?", (rollout_id,)
        )
        return merged(
            EvidenceRow(row["state"], row["step"], row["variant"], Counts.from_json(row["counts"]))
            for row in rows
        )

    def _move(self, tx: Transaction, rollout: Rollout, transition: Transition) -> Rollout:
        now = isoformat(self._clock.now())
        changed: dict[str, Any] = {
            "state": transition.state, "step": transition.step, "reason": transition.reason, "stage_at": now,
        }  # fmt: skip
        if transition.state in ("shadow", "canary"):
            changed["started_at"] = isoformat(rollout.started_at) if rollout.started_at else now
        else:
            changed |= {"ended_at": now, "paused_at": None}
        if transition.state == "champion":
            version = self._models.get(rollout.ref)
            # A write within a write: the aliases move in this transaction, or not at all.
            self._models.set_champion(version, reason=f"rollout {rollout.id}: {transition.reason}")
        facts: dict[str, Any] = {
            "version": rollout.ref, "base": rollout.base_ref, "reason": transition.reason,
            "from": {"state": rollout.state, "step": rollout.step},
            "to": {"state": transition.state, "step": transition.step},
        }  # fmt: skip
        if transition.verdict is not None:
            facts["verdict"] = transition.verdict.to_dict()
        return self._write(tx, rollout, changed, f"rollout.{transition.state}", facts)

    def _write(
        self, tx: Transaction, rollout: Rollout, changed: dict[str, Any], act: str, facts: dict[str, Any]
    ) -> Rollout:
        changed = {**changed, "revision": rollout.revision + 1}
        assignments = ", ".join(f"{column} = :{column}" for column in changed)
        tx.execute(f"UPDATE rollouts SET {assignments} WHERE id = :id", {**changed, "id": rollout.id})
        self._ledger.append(tx, act, f"rollout:{rollout.id}", facts)
        row = tx.one("SELECT * FROM rollouts WHERE id = ?", (rollout.id,))
        assert row is not None
        return _rollout(row)


def abort(rollout: Rollout, reason: str) -> Transition:
    """End it now, in favour of the champion."""
    return Transition(failed_state(rollout), rollout.step, reason)


def _champion(reader: Database | Transaction, model: str) -> Champion | None:
    row = reader.one("SELECT number, since FROM aliases WHERE model = ? AND alias = ?", (model, CHAMPION))
    return Champion(row["number"], parse_time(row["since"])) if row else None


def _is_unchanged(tx: Transaction, rollout: Rollout) -> bool:
    row = tx.one("SELECT state, step, revision FROM rollouts WHERE id = ?", (rollout.id,))
    expected = {"state": rollout.state, "step": rollout.step, "revision": rollout.revision}
    return row == expected and rollout.is_open


def _still_holds(transition: Transition, rollout: Rollout, champion: Champion | None) -> bool:
    """Forward only over the champion it is compared with; or where it has arrived already."""
    if transition.state in ("rejected", "rolled_back"):
        return True
    if transition.state == "champion" and champion is not None and champion.number == rollout.number:
        return True
    return champion == Champion(rollout.base, rollout.base_since)


def _other_live(tx: Transaction, rollout: Rollout) -> bool:
    row = tx.one(
        "SELECT 1 AS yes FROM rollouts WHERE model = ? AND state IN ('shadow', 'canary') AND id <> ?",
        (rollout.model, rollout.id),
    )
    return row is not None


def _rollout(row: Row) -> Rollout:
    return Rollout(
        id=row["id"], model=row["model"], number=row["number"], base=row["base"], base_since=parse_time(row["base_since"]),
        project=row["project"],
        state=row["state"], step=row["step"], revision=row["revision"],
        plan=Plan.model_validate(json.loads(row["plan"])), yardstick=Yardstick.from_json(row["yardstick"]),
        reason=row["reason"], proposed_at=parse_time(row["proposed_at"]),
        started_at=_time(row["started_at"]), stage_at=parse_time(row["stage_at"]),
        paused_at=_time(row["paused_at"]), ended_at=_time(row["ended_at"]),
    )  # fmt: skip


def _time(text: str | None) -> datetime | None:
    return parse_time(text) if text else None
