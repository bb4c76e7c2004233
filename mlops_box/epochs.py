"""Epochs of a training: what it set out to do, how far it is, and how long the rest may take."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from mlops_box.clock import Clock, isoformat, parse_time
from mlops_box.db import Database
from mlops_box.units import format_duration

# An estimate looks at this many epochs back: what a machine did an hour ago says little of now.
NEWEST = 20


@dataclass(frozen=True)
class EpochPlan:
    """What a training sets out to do.

    Attributes:
        total: At most this many epochs.
        may_stop: It stops earlier where the validation loss gets no better.
        resumed_after: Epochs that another process had done; this one goes on from its checkpoint.
    """

    total: int
    may_stop: bool
    resumed_after: int = 0


@dataclass(frozen=True)
class EpochProgress:
    """How far a training is.

    Attributes:
        done: Epochs done, by whatever process.
        total: At most this many.
        may_stop: It may stop earlier: what is left is then the most that it can be.
        resumed_after: Of ``done``, those of another process.
        seconds_each: One epoch of this process; ``None``: none is done yet.
        left_s: Until the last epoch is done, 0 when it is; ``None``: cannot be told.
        ended: No epoch comes any more: all are done, or it stopped early.
        running: Its process is at work.
    """

    done: int
    total: int
    may_stop: bool
    resumed_after: int
    seconds_each: float | None
    left_s: float | None
    ended: bool
    running: bool

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def words(self) -> str:
        """One line for a person.

        >>> EpochProgress(24, 40, True, 0, 1.8, 28.8, ended=False, running=True).words()
        'epoch 24 of at most 40, 1.8s each, at most 28.8s left'
        """
        at_most = "at most " if self.may_stop else ""
        early = ", stopped early" if self.ended and self.done < self.total else ""
        said = f"epoch {self.done} of {at_most}{self.total}{early}"
        if self.resumed_after:
            said += f", {self.resumed_after} of them before it was interrupted"
        if self.seconds_each is not None:
            said += f", {format_duration(self.seconds_each)} each"
        if self.ended or not self.running:
            return said
        if self.left_s is None:
            return f"{said}, time left ?"
        return f"{said}, {at_most or 'about '}{format_duration(self.left_s)} left"


@dataclass(frozen=True)
class Epochs:
    """The epochs of one run as box.db tells them.

    Attributes:
        done: The last epoch that was recorded, by whatever process.
        marks: When this process began (where all its epochs are among the newest), and when its newest epochs ended;
            oldest first.
        ended: Whether the last epoch is done, because all are or because it stopped early.
    """

    plan: EpochPlan
    done: int
    marks: tuple[datetime, ...]
    ended: bool

    def progress(self, now: datetime, *, running: bool = True) -> EpochProgress:
        """How far it is, and what is left as seen at ``now``; that is unknown where nobody is at work."""
        each = seconds_an_epoch(self.marks)
        left = self.plan.total - self.done
        since = max((now - self.marks[-1]).total_seconds(), 0.0) if self.marks else 0.0
        return EpochProgress(
            done=self.done,
            total=self.plan.total,
            may_stop=self.plan.may_stop,
            resumed_after=self.plan.resumed_after,
            seconds_each=each,
            left_s=0.0 if self.ended else seconds_left(each, left, since) if running else None,
            ended=self.ended,
            running=running,
        )


def seconds_an_epoch(marks: Sequence[datetime]) -> float | None:
    """The median time between marks; a pause (a stopped laptop) does not move it, a clock set back is left out."""
    spans = [(later - earlier) / timedelta(seconds=1) for earlier, later in itertools.pairwise(marks)]
    forward = [span for span in spans if span >= 0]
    return median(forward) if forward else None


def seconds_left(each: float | None, left: int, since: float) -> float | None:
    """Time for ``left`` epochs of ``each`` seconds; the one under way counts down by ``since``, but not below zero.

    >>> seconds_left(10.0, 3, 4.0)
    26.0
    >>> seconds_left(10.0, 3, 500.0)
    20.0
    """
    if left <= 0:
        return 0.0
    if each is None:
        return None
    return each * (left - 1) + max(each - since, 0.0)


class EpochStore:
    """What trainings in epochs set out to do, and when their epochs ended."""

    def __init__(self, db: Database, clock: Clock):
        self._db = db
        self._clock = clock

    def begin(self, run_id: str, plan: EpochPlan) -> None:
        """This process begins its first epoch; a run that begins again forgets what it set out to do before."""
        with self._db.write() as tx:
            tx.insert(
                "run_epochs",
                {
                    "run_id": run_id, "total": plan.total, "resumed_after": plan.resumed_after,
                    "may_stop": int(plan.may_stop), "started_at": isoformat(self._clock.now()), "ended_at": None,
                },
                replace=True,
            )  # fmt: skip

    def end(self, run_id: str) -> None:
        """The last epoch is done."""
        with self._db.write() as tx:
            tx.execute(
                "UPDATE run_epochs SET ended_at = ? WHERE run_id = ?", (isoformat(self._clock.now()), run_id)
            )

    def get(self, run_id: str) -> Epochs | None:
        """``None``: the run did not train in epochs, or before this was recorded."""
        row = self._db.one("SELECT * FROM run_epochs WHERE run_id = ?", (run_id,))
        if row is None:
            return None
        points = self._db.read(
            "SELECT step, MAX(at) AS at FROM run_points WHERE run_id = ? GROUP BY step ORDER BY step DESC LIMIT ?",
            (run_id, NEWEST + 1),
        )
        resumed_after = row["resumed_after"]
        ends = [parse_time(p["at"]) for p in reversed(points) if p["step"] > resumed_after and p["at"]]
        whole = len(points) <= NEWEST or points[-1]["step"] <= resumed_after
        return Epochs(
            plan=EpochPlan(row["total"], bool(row["may_stop"]), resumed_after),
            done=max(points[0]["step"] if points else 0, resumed_after),
            marks=(*([parse_time(row["started_at"])] if whole else []), *ends),
            ended=row["ended_at"] is not None,
        )
