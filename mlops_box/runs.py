"""Runs: who is doing what, since when, and whether its owner still lives.

A row holds pid, process start time and boot id: a run whose owner is gone is closed as ``crashed`` by
:meth:`RunStore.close_dead`. The fence is a number that only grows: a run that was closed in its absence (a stopped
laptop, a SIGSTOP) can no longer write, because its row is not ``running`` any more.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from mlops_box.canonical import canonical_json
from mlops_box.clock import Clock, isoformat, parse_time
from mlops_box.db import Database, Row, Transaction
from mlops_box.errors import BusyError, NotFoundError
from mlops_box.ids import new_id
from mlops_box.ledger import Ledger

RunState = Literal["running", "completed", "failed", "refused", "rejected", "crashed", "cancelled"]
RunKind = Literal["check", "train", "score", "monitor", "materialize", "housekeeping"]


@dataclass(frozen=True)
class Owner:
    """A process, told apart from a later one with the same pid: ``pid_started`` is in seconds since the boot."""

    pid: int
    pid_started: float
    boot_id: str

    def is_alive(self) -> bool:
        return self.boot_id == boot_id() and _started(self.pid) == self.pid_started


def boot_id() -> str:
    """Differs after each start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def this_process() -> Owner:
    pid = os.getpid()
    started = _started(pid)
    assert started is not None
    return Owner(pid, started, boot_id())


def process_owner(pid: int) -> Owner | None:
    """A living process of this machine as an owner; ``None`` when it is gone."""
    started = _started(pid)
    return Owner(pid, started, boot_id()) if started is not None else None


def _started(pid: int) -> float | None:
    """Seconds from the machine's start to the process's, ``None`` when it is gone or a zombie.

    Not psutil's ``create_time``: that is wall time, which a step of the clock moves, and a living run would look dead.
    """
    try:
        # The name in parentheses may hold blanks and parentheses itself; proc(5) counts the fields behind it from 3.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """One run as box.db tells it. Times are UTC; ``ended_at`` is ``None`` while it runs."""

    id: str
    project: str
    kind: RunKind
    state: RunState
    trigger: str
    started_at: datetime
    ended_at: datetime | None
    owner: Owner
    fence: int
    flow_run_id: str | None
    params: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id, "project": self.project, "kind": self.kind, "state": self.state, "trigger": self.trigger,
            "started_at": isoformat(self.started_at),
            "ended_at": isoformat(self.ended_at) if self.ended_at else None,
            "pid": self.owner.pid, "flow_run_id": self.flow_run_id,
            "params": self.params, "result": self.result, "error": self.error,
        }  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One step of a run."""

    name: str
    state: Literal["running", "completed", "failed"]
    started_at: datetime
    ended_at: datetime | None
    detail: str


class RunStore:
    """Runs, their steps and their values over time."""

    def __init__(self, db: Database, ledger: Ledger, clock: Clock):
        self._db = db
        self._ledger = ledger
        self._clock = clock

    def begin(
        self,
        kind: RunKind,
        project: str,
        *,
        trigger: str,
        params: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
        flow_run_id: str | None = None,
    ) -> Run:
        """Start a run owned by this process.

        Raises:
            BusyError: A run with this idempotency key exists already (its id is in ``details["run_id"]``).
        """
        owner = this_process()
        run_id = new_id(self._clock)
        with self._db.write() as tx:
            if idempotency_key is not None:
                twin = tx.one("SELECT id, state FROM runs WHERE idempotency_key = ?", (idempotency_key,))
                if twin:
                    raise BusyError(
                        f"this was started already as run {twin['id']} ({twin['state']})",
                        hint=f"mlops-box runs show {twin['id']}",
                        details={"run_id": twin["id"], "state": twin["state"]},
                    )
            fence = tx.read("SELECT COALESCE(MAX(fence), 0) + 1 AS fence FROM runs")[0]["fence"]
            row: Row = {
                "id": run_id, "project": project, "kind": kind, "state": "running", "trigger": trigger,
                "idempotency_key": idempotency_key, "started_at": isoformat(self._clock.now()),
                "pid": owner.pid, "pid_started": owner.pid_started, "boot_id": owner.boot_id, "fence": fence,
                "flow_run_id": flow_run_id, "params": canonical_json(params or {}),
            }  # fmt: skip
            tx.insert("runs", row)
            self._ledger.append(
                tx, f"{kind}.begin", f"run:{run_id}", {"project": project, "trigger": trigger}
            )
        return self.get(run_id)

    def end(
        self, run_id: str, state: RunState, *, result: dict[str, Any] | None = None, error: str | None = None
    ) -> None:
        """Close a running run; closing it again changes nothing.

        Raises:
            BusyError: It was closed by somebody else meanwhile (its owner was taken for dead).
        """
        with self._db.write() as tx:
            row = tx.one("SELECT state, kind, project FROM runs WHERE id = ?", (run_id,))
            if row is None:
                raise NotFoundError(f"no run {run_id}")
            if row["state"] == state:
                return
            if row["state"] != "running":
                raise BusyError(f"run {run_id} was closed as {row['state']} meanwhile", hint="start it again")
            now = isoformat(self._clock.now())
            tx.execute(
                "UPDATE runs SET state = ?, ended_at = ?, result = ?, error = ? WHERE id = ?",
                (state, now, canonical_json(result) if result is not None else None, error, run_id),
            )
            if state != "completed":
                tx.execute(
                    "UPDATE run_steps SET state = 'failed', ended_at = ? WHERE run_id = ? AND state = 'running'",
                    (now, run_id),
                )
            self._ledger.append(
                tx, f"{row['kind']}.{state}", f"run:{run_id}", {"result": result, "error": error}
            )

    def assert_running(self, tx: Transaction, run_id: str) -> None:
        """The fence: call it first in every transaction that publishes a run's result.

        Raises:
            BusyError: The run was closed by somebody else meanwhile (its owner was taken for dead).
            NotFoundError: There is no such run.
        """
        row = tx.one("SELECT state FROM runs WHERE id = ?", (run_id,))
        if row is None:
            raise NotFoundError(f"no run {run_id}")
        if row["state"] != "running":
            raise BusyError(f"run {run_id} was closed as {row['state']} meanwhile", hint="start it again")

    def begin_step(self, run_id: str, name: str) -> int:
        """Start a step; returns its number in the run.

        Raises:
            BusyError: The run was closed meanwhile.
        """
        with self._db.write() as tx:
            self.assert_running(tx, run_id)
            seq: int = tx.read("SELECT COUNT(*) AS n FROM run_steps WHERE run_id = ?", (run_id,))[0]["n"] + 1
            now = isoformat(self._clock.now())
            tx.insert(
                "run_steps",
                {"run_id": run_id, "seq": seq, "name": name, "state": "running", "started_at": now},
            )
        return seq

    def end_step(
        self, run_id: str, seq: int, *, state: Literal["completed", "failed"] = "completed", detail: str = ""
    ) -> None:
        with self._db.write() as tx:
            tx.execute(
                "UPDATE run_steps SET state = ?, ended_at = ?, detail = ? "
                "WHERE run_id = ? AND seq = ? AND state = 'running'",
                (state, isoformat(self._clock.now()), detail, run_id, seq),
            )

    def point(self, run_id: str, step: int, values: dict[str, float], *, replayed: bool = False) -> None:
        """Record values at one step (epoch) of a run; recording it again overwrites.

        Args:
            replayed: Another process made the step: it has no time of its own.
        """
        at = None if replayed else isoformat(self._clock.now())
        with self._db.write() as tx:
            for name, value in values.items():
                tx.insert(
                    "run_points",
                    {"run_id": run_id, "name": name, "step": step, "value": float(value), "at": at},
                    replace=True,
                )

    def points(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        """Values by name, in order of steps."""
        found: dict[str, list[tuple[int, float]]] = {}
        for row in self._db.read(
            "SELECT name, step, value FROM run_points WHERE run_id = ? ORDER BY name, step", (run_id,)
        ):
            found.setdefault(row["name"], []).append(
                (row["step"], math.nan if row["value"] is None else row["value"])
            )
        return found

    def steps(self, run_id: str) -> list[Step]:
        rows = self._db.read("SELECT * FROM run_steps WHERE run_id = ? ORDER BY seq", (run_id,))
        return [
            Step(
                row["name"],
                row["state"],
                parse_time(row["started_at"]),
                parse_time(row["ended_at"]) if row["ended_at"] else None,
                row["detail"],
            )
            for row in rows
        ]

    def get(self, run_id: str) -> Run:
        """One run by its id or an unambiguous beginning of it.

        Raises:
            NotFoundError: None, or more than one.
        """
        rows = self._db.read(
            "SELECT * FROM runs WHERE id = ? OR substr(id, 1, ?) = ? LIMIT 3", (run_id, len(run_id), run_id)
        )
        exact = [row for row in rows if row["id"] == run_id]
        if exact:
            return _run(exact[0])
        if len(rows) != 1 or not run_id:
            raise NotFoundError(
                f"no run {run_id!r}" if not rows else f"several runs begin with {run_id!r}",
                hint="mlops-box runs list",
            )
        return _run(rows[0])

    def by_key(self, idempotency_key: str) -> Run | None:
        """The run that was started under a key, whatever became of it."""
        row = self._db.one("SELECT * FROM runs WHERE idempotency_key = ?", (idempotency_key,))
        return _run(row) if row else None

    def close_dead(self) -> list[Run]:
        """Close as ``crashed`` every running run whose owner is gone; returns them."""
        closed = []
        for run in self.list(state="running", limit=10_000):
            if run.owner.is_alive():
                continue
            # It may have ended by itself, or been closed by another process, since it was listed.
            with contextlib.suppress(BusyError):
                self.end(
                    run.id, "crashed", error="its process is gone (killed, crashed, or the machine restarted)"
                )
                closed.append(self.get(run.id))
        return closed

    def list(
        self,
        *,
        project: str | None = None,
        kind: str | None = None,
        state: str | None = None,
        limit: int = 100,
    ) -> list[Run]:
        """The newest runs, newest first."""
        rows = self._db.read(
            "SELECT * FROM runs WHERE (:project IS NULL OR project = :project) AND (:kind IS NULL OR kind = :kind) "
            "AND (:state IS NULL OR state = :state) ORDER BY started_at DESC, id DESC LIMIT :limit",
            {"project": project, "kind": kind, "state": state, "limit": limit},
        )
        return [_run(row) for row in rows]


def _run(row: Row) -> Run:
    return Run(
        id=row["id"], project=row["project"], kind=row["kind"], state=row["state"], trigger=row["trigger"],
        started_at=parse_time(row["started_at"]),
        ended_at=parse_time(row["ended_at"]) if row["ended_at"] else None,
        owner=Owner(row["pid"], row["pid_started"], row["boot_id"]),
        fence=row["fence"], flow_run_id=row["flow_run_id"], params=json.loads(row["params"]),
        result=json.loads(row["result"]) if row["result"] else None, error=row["error"],
    )  # fmt: skip
