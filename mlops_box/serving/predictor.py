"""A request's way from checked rows to a logged answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from weakref import proxy

from mlops_box.clock import Clock
from mlops_box.errors import StorageError
from mlops_box.serving.answers import Answers, joined
from mlops_box.serving.batcher import Batcher
from mlops_box.serving.columns import Columns
from mlops_box.serving.door import Row
from mlops_box.serving.metrics import Metrics
from mlops_box.serving.prediction_log import PredictionLog
from mlops_box.serving.records import (
    LoggedRequest,
    ParsedRows,
    PredictionBatch,
    PredictionIds,
    Truth,
    TruthRecord,
)
from mlops_box.serving.segment_lines import batch_line, truth_line
from mlops_box.serving.slot import Slot

Variant = str
Rows = list[Row] | Columns


class ModelCall(NamedTuple):
    """The call of a model that answered a request, by the clock's monotonic counter.

    Attributes:
        rows: Of all requests in the batch.
    """

    started_s: float
    ended_s: float
    rows: int
    requests: int


@dataclass(slots=True)
class _Item:
    """One request's rows on their way through a batch.

    Attributes:
        started_s: When the request arrived.
        joined_s: When its rows were checked and joined the batcher.
        called_s: When the model was called with them.
    """

    rows: Rows
    variant: Variant
    started_s: float
    joined_s: float
    called_s: float = 0.0
    copy_of: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The answers of one request, the ids they were logged under, when it joined its batch, what that cost, and the rows
    as the model that answered saw them."""

    answers: Answers
    ids: PredictionIds
    joined_s: float
    call: ModelCall
    rows: Rows


class Predictor:
    """Batches, runs, logs. Rows must have passed the slot's door."""

    def __init__(self, log: PredictionLog, clock: Clock, metrics: Metrics):
        self._log = log
        self._clock = clock
        self._metrics = metrics

    async def predict(self, slot: Slot, rows: Rows, variant: Variant, started_s: float) -> Reply:
        """The reply; its record is in the log when this returns.

        Args:
            started_s: When the request arrived, by the clock's monotonic counter.

        Raises:
            Overloaded: Too many rows wait.
            StorageError: The log cannot be written and the project says it must.
        """
        lane = slot.lane
        if lane is None:
            lane = slot.lane = self._lane(slot)
        reply: Reply = await lane.submit(_Item(rows, variant, started_s, self._clock.monotonic_s()))
        return reply

    def predict_now(self, slot: Slot, rows: Rows, variant: Variant) -> Reply:
        """The same without an event loop, in one call."""
        now_s = self._clock.monotonic_s()
        item = _Item(rows, variant, now_s, now_s)
        return self._finish(slot, [item], self._run(slot, [item]))[0]

    def record(
        self, slot: Slot, rows: Rows, answers: Answers, variant: Variant, started_s: float,
        *, copy_of: str | None = None,
    ) -> Reply:  # fmt: skip
        """Log answers that somebody else computed with the slot; for the event loop.

        Args:
            copy_of: See :class:`PredictionRecord`.

        Raises:
            StorageError: The log cannot be written and the project says it must.
        """
        item = _Item(rows, variant, started_s, started_s, started_s, copy_of)
        return self._finish(slot, [item], [answers])[0]

    def shadow_dropped(self, model: str) -> None:
        """Count a request that the shadow version did not get to see."""
        self._metrics.shadow_dropped(model)

    def store_truth(self, model: str, truths: Sequence[Truth]) -> None:
        """Log ground truth.

        Raises:
            StorageError: It was not stored.
        """
        record = TruthRecord(model, self._now_us(), truths)
        self._log.write(lambda _: truth_line(record))
        self._metrics.truths(model, len(truths))

    def _lane(self, slot: Slot) -> Batcher[_Item, Answers, Reply]:
        # The slot holds the lane, so the lane must not hold the slot: a version that is let go is freed at once, not when
        # a collector looks, which does not look at what was frozen. Who waits for an answer holds the slot.
        lent = proxy(slot)
        return Batcher(
            lambda items: self._run(lent, items),
            lambda items, results: self._finish(lent, items, results),
            size_of=lambda item: len(item.rows),
            max_batch=slot.max_batch,
            max_queued=slot.max_queued,
            is_slow=lambda rows: lent.is_slow(rows),
        )

    def _run(self, slot: Slot, items: Sequence[_Item]) -> list[Answers]:
        called_s = self._clock.monotonic_s()
        for item in items:
            item.called_s = called_s
        return slot.run_all([item.rows for item in items])

    def _finish(self, slot: Slot, items: Sequence[_Item], results: Sequence[Answers]) -> list[Reply]:
        """Log a batch by one write, then hand out the answers."""
        now_s = self._clock.monotonic_s()
        at_us = self._now_us()
        version, view = slot.version, slot.log_view
        total = sum([len(item.rows) for item in items])
        whole = joined(results)
        ids = PredictionIds("", 0, total)

        def build(take: Callable[[int], PredictionIds]) -> bytes:
            nonlocal ids
            ids = take(total)
            logged, start = [], 0
            for item, answers in zip(items, results, strict=True):
                rows: Sequence[Row] | Columns = item.rows
                sampled = True
                if view is not None:
                    rows, sampled = view.of(item.rows, ids.part(start, start + len(item.rows)))
                features = item.rows.features if sampled and isinstance(item.rows, ParsedRows) else None
                if view is not None:
                    features = view.entities_of(features)
                latency_ms = round((now_s - item.started_s) * 1000, 3)
                logged.append(
                    LoggedRequest(
                        rows,
                        item.variant,
                        latency_ms,
                        answers.outcome,
                        sampled,
                        item.copy_of,
                        features,
                    )
                )
                start += len(item.rows)
            return batch_line(
                PredictionBatch(
                    version.model, version.number, at_us, ids, logged, whole.numbers, whole.labels,
                    whole.probabilities, slot.door.time_column,
                )
            )  # fmt: skip

        try:
            self._log.write(build)
        except StorageError:
            if slot.log_required:
                raise
            self._metrics.unlogged += len(items)
        number = str(version.number)
        call = ModelCall(items[0].called_s, now_s, total, len(items))
        replies, start = [], 0
        for item, answers in zip(items, results, strict=True):
            rows = len(item.rows)
            self._metrics.answered(
                version.model, number, answers.outcome, rows, now_s - item.started_s, item.variant
            )
            replies.append(Reply(answers, ids.part(start, start + rows), item.joined_s, call, item.rows))
            start += rows
        self._metrics.called(version.model, number, total, now_s - call.started_s)
        return replies

    def _now_us(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000)
