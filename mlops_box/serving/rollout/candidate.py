"""The candidate's own thread: whatever it does there, the event loop and the champion go on.

A model that does not come back is pulled out of its call on a leash; the thread is a daemon, so that one that resists cannot
keep the process from ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_box.errors import BoxError, IntegrityError
from mlops_box.models.runtime import Leash
from mlops_box.serving.answers import Answers
from mlops_box.serving.columns import Columns
from mlops_box.serving.rollout.evidence import Failure
from mlops_box.serving.slot import Slot

_END_S = 1.0
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


class CandidateThread:
    """Answers requests with one slot, in batches of what waits; results are delivered in the caller's event loop.

    Args:
        max_queued: Requests that may wait.
    """

    def __init__(self, slot: Slot, *, max_queued: int = 256):
        self.slot = slot
        self._max_queued = max_queued
        self._jobs: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._ends = False
        self._thread: threading.Thread | None = None
        self._leash = Leash()

    def submit(self, rows: Rows, loop: asyncio.AbstractEventLoop, done: Callable[[Result], None]) -> bool:
        """Have rows answered and ``done`` called in ``loop``; ``False`` when the queue is full and nothing will happen."""
        with self._wake:
            if self._ends or len(self._jobs) >= self._max_queued:
                return False
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name=f"candidate {self.slot.ref}", daemon=True
                )
                self._thread.start()
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

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._jobs and not self._ends:
                    self._wake.wait()
                if self._ends:
                    return
                jobs = self._take()
            results = self._answer([job.rows for job in jobs])
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

    def _answer(self, requests: list[Rows]) -> list[Result]:
        try:
            found = self.slot.run_all(requests, self._leash)
            return [checked(answers, len(rows)) for answers, rows in zip(found, requests, strict=True)]
        # The border of what may be broken: its failures are what we are here to see.
        except Exception as error:  # noqa: BLE001
            if len(requests) > 1 and not self._ends:
                return [self._answer([rows])[0] for rows in requests]
            return [CandidateFailed(_kind(error))]


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
