"""A request's way from checked rows to a logged answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from mlops_box.clock import Clock
from mlops_box.errors import StorageError
from mlops_box.serving.answers import Answers
from mlops_box.serving.batcher import Batcher
from mlops_box.serving.door import Row
from mlops_box.serving.metrics import Metrics
from mlops_box.serving.prediction_log import PredictionLog
from mlops_box.serving.records import PredictionRecord, Record, Truth, TruthRecord
from mlops_box.serving.slot import Slot

Variant = str
_MAX_QUEUED_ROWS = 8192


@dataclass(frozen=True, slots=True)
class _Item:
    """One request's rows on their way through a batch."""

    rows: list[Row]
    variant: Variant
    started_s: float


@dataclass(frozen=True, slots=True)
class Reply:
    """The answers of one request and the ids they were logged under."""

    answers: Answers
    ids: Sequence[str]


class Predictor:
    """Batches, runs, logs. Rows must have passed the slot's door.

    Args:
        is_alone: Whether no other request is under way, see :class:`Batcher`.
    """

    def __init__(
        self,
        log: PredictionLog,
        clock: Clock,
        metrics: Metrics,
        *,
        is_alone: Callable[[], bool] = lambda: False,
    ):
        self._log = log
        self._clock = clock
        self._metrics = metrics
        self._is_alone = is_alone

    async def predict(self, slot: Slot, rows: list[Row], variant: Variant, started_s: float) -> Reply:
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
        reply: Reply = await lane.submit(_Item(rows, variant, started_s))
        return reply

    def predict_now(self, slot: Slot, rows: list[Row], variant: Variant) -> Reply:
        """The same without an event loop, in one call."""
        item = _Item(rows, variant, self._clock.monotonic_s())
        return self._finish(slot, [item], [slot.run(rows)])[0]

    def store_truth(self, model: str, truths: Sequence[Truth]) -> None:
        """Log ground truth.

        Raises:
            StorageError: It was not stored.
        """
        record = TruthRecord(model, self._now_us(), truths)
        self._log.write(lambda _: [record])
        self._metrics.truths(model, len(truths))

    def _lane(self, slot: Slot) -> Batcher[_Item, Answers, Reply]:
        return Batcher(
            lambda items: _run(slot, items),
            lambda items, results: self._finish(slot, items, results),
            size_of=lambda item: len(item.rows),
            max_batch=slot.max_batch,
            max_queued=max(_MAX_QUEUED_ROWS, 4 * slot.door.max_rows),
            is_slow=slot.is_slow,
            is_alone=self._is_alone,
        )

    def _finish(self, slot: Slot, items: Sequence[_Item], results: Sequence[Answers]) -> list[Reply]:
        """Log a batch by one write, then hand out the answers."""
        now_s = self._clock.monotonic_s()
        at_us = self._now_us()
        version = slot.version
        all_ids: list[list[str]] = []

        def build(take: Callable[[int], list[str]]) -> list[Record]:
            records: list[Record] = []
            for item, answers in zip(items, results, strict=True):
                ids = take(len(item.rows))
                all_ids.append(ids)
                records.append(
                    PredictionRecord(
                        model=version.model,
                        number=version.number,
                        variant=item.variant,
                        at_us=at_us,
                        ids=ids,
                        rows=item.rows,
                        predictions=answers.numbers,
                        labels=answers.labels,
                        probabilities=answers.probabilities,
                        latency_ms=round((now_s - item.started_s) * 1000, 3),
                        outcome=answers.outcome,
                        time_column=slot.door.time_column,
                    )
                )
            return records

        try:
            self._log.write(build)
        except StorageError:
            if slot.log_required:
                raise
            self._metrics.unlogged += len(items)
        number = str(version.number)
        for item, answers in zip(items, results, strict=True):
            self._metrics.answered(
                version.model, number, answers.outcome, len(item.rows), now_s - item.started_s
            )
        return [Reply(answers, ids) for answers, ids in zip(results, all_ids, strict=True)]

    def _now_us(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000)


def _run(slot: Slot, items: Sequence[_Item]) -> list[Answers]:
    if len(items) == 1:
        return [slot.run(items[0].rows)]
    answers = slot.run(list(chain.from_iterable(item.rows for item in items)))
    parts, start = [], 0
    for item in items:
        parts.append(answers.part(start, start + len(item.rows)))
        start += len(item.rows)
    return parts
