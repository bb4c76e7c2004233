"""What serves: the version that answers now, the log, the counters. Routes ask it, a swap changes its version."""

from __future__ import annotations

import threading
from typing import Any, Callable, NamedTuple

from mlops_box.clock import Clock
from mlops_box.errors import BoxError, NotFoundError, UsageError
from mlops_box.ids import new_id, parse_ref
from mlops_box.serving import metric_table as table
from mlops_box.serving.answers import Answers
from mlops_box.serving.memory import resident_bytes
from mlops_box.serving.metrics import Metrics
from mlops_box.serving.metrics_snapshot import Labels, MetricsSnapshot
from mlops_box.serving.records import PredictionIds

from ..log import RingLog
from .histogram import Histograms
from .metrics_page import LOG_BACKLOG, LOG_BYTES, LOG_DROPPED, single
from .model import Served
from .recorder import Answered, Recorder, Rows

_NUMBERS = 1 << 32


class Reply(NamedTuple):
    """The answers of one request, and the ids they are logged under."""

    answers: Answers
    ids: PredictionIds


class Ids:
    """Prediction ids that no other process gives."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._segment = new_id(clock)
        self._next = 0

    def take(self, count: int) -> PredictionIds:
        """Consecutive ids for the rows of a request."""
        with self._lock:
            if self._next + count > _NUMBERS:
                self._segment, self._next = new_id(self._clock), 0
            first = self._next
            self._next += count
            return PredictionIds(self._segment, first, count)


class Device:
    """For any thread.

    Args:
        served: The version that answers first.
        ring: Read for the numbers of its size.

    Attributes:
        served: The version that answers; replaced whole. A request that has it keeps it.
        problem: Why the version that should serve does not; ``None`` when it does.
    """

    def __init__(
        self, served: Served, ring: RingLog, recorder: Recorder, histograms: Histograms, clock: Clock
    ) -> None:
        self.served = served
        self.recorder = recorder
        self.histograms = histograms
        self.problem: str | None = None
        self._ring = ring
        self._clock = clock
        self._ids = Ids(clock)
        self._metrics = Metrics()
        self._counting = threading.Lock()

    def named(self, name: str, version: str = "") -> Served:
        """The version of that name: ``bikes``, ``bikes@champion`` or ``bikes@7``.

        Raises:
            NotFoundError: This device serves another.
        """
        served = self.served
        try:
            ref = parse_ref(f"{name}@{version}" if version else name)
        except UsageError as error:
            raise NotFoundError(error.message, hint=error.hint) from None
        if ref.name != served.model:
            raise NotFoundError(
                f"there is no model {ref.name!r}", hint=f"this device serves {served.model}@{served.number}"
            )
        if ref.number != served.number and ref.alias != "champion":
            raise NotFoundError(f"there is no version {ref}", hint=f"this device serves {served.ref}")
        return served

    def predict(self, served: Served, rows_for: Callable[[Served], Rows], started_s: float) -> Reply:
        """Check, answer, and queue for the log.

        Args:
            rows_for: Gives the request's rows, past the version's door.

        Raises:
            BoxError: What ``rows_for`` and the model raise; it was counted.
        """
        try:
            rows = rows_for(served)
            tensors = served.rows.tensors(rows)
            called_s = self._clock.monotonic_s()
            answers = served.rows.answers(tensors)
        except BoxError as error:
            self.failed(served, error.code)
            raise
        done_s = self._clock.monotonic_s()
        ids = self._ids.take(len(rows))
        at_us, mono_us = self.recorder.now_us()
        latency_s = done_s - started_s
        self.recorder.answered(Answered(served, rows, tensors, answers, ids, at_us, mono_us, latency_s * 1e3))
        model, version = served.model, str(served.number)
        with self._counting:
            self._metrics.answered(model, version, answers.outcome, len(rows), latency_s)
            self._metrics.called(model, version, len(rows), done_s - called_s)
        return Reply(answers, ids)

    def store_truths(self, served: Served, items: Callable[[], list[tuple[object, object]]]) -> int:
        """Check ground truth and write it; returns how many.

        Raises:
            BoxError: What is wrong with it, or it was not stored; it was counted.
        """
        try:
            truths = served.truths.read_all(items())
            self.recorder.truths(served, truths)
        except BoxError as error:
            self.failed(served, f"feedback_{error.code}")
            raise
        with self._counting:
            self._metrics.truths(served.model, len(truths))
        return len(truths)

    def failed(self, served: Served, code: str) -> None:
        """Count a request to the version that got an error."""
        with self._counting:
            self._metrics.failed(served.model, str(served.number), code)

    def refused(self, code: str) -> None:
        """Count a request that was answered with an error."""
        with self._counting:
            self._metrics.refused(code)

    def swap(self, served: Served, seconds: float) -> None:
        """From now on this version answers."""
        self.served = served
        self.problem = None
        with self._counting:
            self._metrics.swapped(served.model, "ok", seconds)

    def swap_failed(self, model: str, error: BoxError) -> None:
        """The version that should answer does not load: the one before goes on."""
        self.problem = error.message
        with self._counting:
            self._metrics.swapped(model, error.code, 0.0)

    def readiness(self) -> dict[str, Any]:
        """``/readyz``. A disk that cannot be written is told, but the model answers all the same."""
        served = self.served
        problems = [text for text in (self.problem, self.recorder.problem) if text]
        route = {"model": served.model, "champion": served.number, "serving": served.number, "is_warm": True}
        return {"ready": True, "models": [route], "problems": problems}

    def snapshot(self) -> MetricsSnapshot:
        """What was counted, and how it is now."""
        served = self.served
        version = (served.model, str(served.number))
        gauges: dict[str, dict[Labels, float]] = {
            table.SERVING_VERSION.name: {(served.model,): float(served.number)},
            table.READY.name: single(1.0),
            table.LOG_FAILED.name: single(self.recorder.problem is not None),
            table.MEMORY.name: single(resident_bytes()),
            table.LOADED_SLOTS.name: single(1.0),
        }
        try:
            gauges[LOG_BACKLOG.name] = single(self._ring.backlog)
            gauges[LOG_BYTES.name] = single(self._ring.used_bytes)
            dropped = self._ring.dropped
            gauges[LOG_DROPPED.name] = {(kind,): float(count) for kind, count in dropped.items()}
        except OSError:
            gauges[table.LOG_FAILED.name] = single(1.0)
        with self._counting:
            self._metrics.unlogged = self.recorder.unlogged
            return self._metrics.snapshot(gauges=gauges, loaded=[version], now_s=self._clock.monotonic_s())
