"""Asking the candidate, whatever it may do.

A quick one is asked in the event loop, as the champion is: a hop to a thread costs milliseconds where the loop is busy, and
would be blamed on the candidate. All others, and whoever was not as quick as it promised, have a thread of their own. A call
that does not come back is pulled out on a leash; the thread is a daemon, so that one that resists cannot keep the process from
ending.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_box.errors import BoxError, IntegrityError
from mlops_box.models.runtime import Leash
from mlops_box.serving.answers import Answers
from mlops_box.serving.columns import Columns
from mlops_box.serving.rollout.evidence import Failure
from mlops_box.serving.slot import SLOW_S, Slot

_END_S = 1.0
# A call in the event loop is pulled out after this time; what is a pause of the machine is asked again in the thread.
_LOOP_LIMIT_S = 0.1
_WATCH_EVERY_S = 0.05
# Processor time of a call: who takes as long twice is not asked in the event loop any more.
_NOT_QUICK_S = 10 * SLOW_S
_STRIKES = 2
Rows = Sequence[dict[str, Any]] | Columns


class CandidateFailed(Exception):
    """The candidate gave no usable answer."""

    def __init__(self, kind: Failure):
        super().__init__(kind)
        self.kind: Failure = kind


Result = Answers | CandidateFailed


@dataclass(frozen=True, slots=True)
class _Job:
    rows: Rows
    loop: asyncio.AbstractEventLoop
    done: Callable[[Result], None]


class Candidate:
    """Answers requests with one slot. For one event loop.

    Args:
        max_queued: Requests that may wait for the thread.
    """

    def __init__(self, slot: Slot, *, max_queued: int = 256):
        self.slot = slot
        self._max_queued = max_queued
        self._jobs: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._ends = False
        self._thread: threading.Thread | None = None
        self._leash = Leash()
        self._strikes = 0
        self._loop_leash: Leash | None = None
        self._loop_until_s = 0.0

    def is_quick(self, rows: int) -> bool:
        """Whether so many rows may be answered in the event loop."""
        return self._strikes < _STRIKES and not self.slot.is_slow(rows)

    def answer_now(self, rows: Rows) -> Result | None:
        """The answer, computed here; ``None`` when it took too long and was given up."""
        leash = Leash()
        with self._wake:
            self._start()
            self._loop_leash, self._loop_until_s = leash, time.monotonic() + _LOOP_LIMIT_S
        used_s = time.thread_time()
        result = self._answer([rows], leash)[0]
        used_s = time.thread_time() - used_s
        with self._wake:
            was_pulled, self._loop_leash = self._loop_leash is None, None
        if used_s > _NOT_QUICK_S:
            self._strikes += 1
        return None if was_pulled else result

    def submit(self, rows: Rows, loop: asyncio.AbstractEventLoop, done: Callable[[Result], None]) -> bool:
        """Have rows answered and ``done`` called in ``loop``; ``False`` when the queue is full and nothing will happen."""
        with self._wake:
            if self._ends or len(self._jobs) >= self._max_queued:
                return False
            self._start()
            self._jobs.append(_Job(rows, loop, done))
            self._wake.notify()
        return True

    def close(self) -> None:
        """End the thread, and the call it is in; what waits is forgotten."""
        with self._wake:
            self._ends = True
            self._jobs.clear()
            self._leash.pull()
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(_END_S)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"candidate {self.slot.ref}", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._jobs and not self._ends:
                    self._wake.wait(_WATCH_EVERY_S)
                    self._watch()
                if self._ends:
                    return
                jobs = self._take()
            results = self._answer([job.rows for job in jobs], self._leash)
            for job, result in zip(jobs, results, strict=True):
                try:
                    job.loop.call_soon_threadsafe(job.done, result)
                except RuntimeError:
                    return  # The loop is closed: the server has ended.

    def _take(self) -> list[_Job]:
        jobs = [self._jobs.popleft()]
        rows = len(jobs[0].rows)
        while self._jobs and rows + len(self._jobs[0].rows) <= self.slot.max_batch:
            rows += len(self._jobs[0].rows)
            jobs.append(self._jobs.popleft())
        return jobs

    def _watch(self) -> None:
        """Pull out what holds the event loop."""
        if self._loop_leash is not None and time.monotonic() > self._loop_until_s:
            self._loop_leash.pull()
            self._loop_leash = None
            self._strikes = _STRIKES

    def _answer(self, requests: list[Rows], leash: Leash) -> list[Result]:
        try:
            found = self.slot.run_all(requests, leash)
            return [checked(answers, len(rows)) for answers, rows in zip(found, requests, strict=True)]
        # The border of what may be broken: its failures are what we are here to see.
        except Exception as error:  # noqa: BLE001
            if len(requests) > 1 and not self._ends:
                return [self._answer([rows], leash)[0] for rows in requests]
            return [CandidateFailed(_kind(error))] * len(requests)


def checked(answers: Answers, rows: int) -> Result:
    """The answers if they are usable: one finite answer a row, of the form that clients read."""
    if answers.outcome != "ok":
        return CandidateFailed("not_finite")
    lists = (answers.predictions, answers.numbers, answers.labels, answers.probabilities)
    if any(values is not None and len(values) != rows for values in lists):
        return CandidateFailed("wrong_shape")
    if answers.numbers is not None and not all(isinstance(number, float) for number in answers.numbers):
        return CandidateFailed("wrong_shape")
    return answers


def _kind(error: Exception) -> Failure:
    shapes = (IntegrityError, IndexError, TypeError)
    return "wrong_shape" if isinstance(error, shapes) and not _is_input(error) else "raised"


def _is_input(error: Exception) -> bool:
    return isinstance(error, BoxError) and not isinstance(error, IntegrityError)
