"""Answered requests as the prediction log tells them, whether their segment is sealed or still written."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlops_box.clock import from_us
from mlops_box.models.signature import Signature
from mlops_box.serving.columns import Columns
from mlops_box.serving.records import PredictionRecord
from mlops_box.serving.sealing import FEATURE_PREFIX, columns_of

# Of a request with more rows, so many are kept: a request may carry thousands.
ROWS_KEPT = 20


@dataclass(frozen=True)
class AnsweredRow:
    """One row of a request.

    Attributes:
        id: Of the prediction.
        inputs: As logged: what came with the request; from a sealed segment, the features as the model saw them. Columns
            that are redacted are left out.
        prediction: A number; the second class's probability for binary; ``None`` for more classes.
        label: The class as text; ``None`` for regression.
        truth: What turned out true; ``None`` while it has not come.
    """

    id: str
    inputs: Mapping[str, Any]
    prediction: float | None
    label: str | None
    probability: tuple[float | None, ...] | None
    truth: str | None = None

    @property
    def answer(self) -> str | float | None:
        """The class, or the number."""
        return self.label if self.label is not None else self.prediction


@dataclass(frozen=True)
class AnsweredRequest:
    """One request that was answered. A request that was refused or failed leaves no record.

    Attributes:
        variant: As what the version answered: champion, canary, shadow (a copy, which answers nobody), or direct, asked for
            by its number.
        outcome: ``ok``, or ``not_finite``: some answer is no number.
        sampled: Whether its rows were logged.
        copy_of: Of a shadow's answer: the first prediction id of the request it answers again; ``None`` where unknown.
        rows: How many it carried.
        first: The first :data:`ROWS_KEPT` of them.
        sealed: From a sealed segment. There, a batch's requests are told apart by their latencies.
    """

    model: str
    number: int
    at_us: int
    variant: str
    latency_ms: float | None
    outcome: str
    sampled: bool
    copy_of: str | None
    rows: int
    first: tuple[AnsweredRow, ...]
    sealed: bool = False

    @property
    def id(self) -> str:
        """The id of its first prediction."""
        return self.first[0].id

    @property
    def at(self) -> datetime:
        return from_us(self.at_us)


@dataclass(frozen=True, eq=False)
class Counted:
    """Requests as columns, in order of writing: enough to count and to time them.

    Attributes:
        latency_ms: NaN where unknown.
    """

    at_us: npt.NDArray[np.int64]
    latency_ms: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64]
    finite: npt.NDArray[np.bool_]

    @staticmethod
    def of(records: Collection[PredictionRecord]) -> Counted:
        return Counted(
            np.array([record.at_us for record in records], dtype=np.int64),
            np.array([record.latency_ms for record in records], dtype=np.float64),
            np.array([len(record.rows) for record in records], dtype=np.int64),
            np.array([record.outcome == "ok" for record in records], dtype=np.bool_),
        )

    def __len__(self) -> int:
        return len(self.at_us)

    def since(self, at_us: int) -> Counted:
        """Those at or after a moment."""
        return self._where(self.at_us >= at_us)

    def _where(self, keep: npt.NDArray[np.bool_]) -> Counted:
        return Counted(self.at_us[keep], self.latency_ms[keep], self.rows[keep], self.finite[keep])

    @staticmethod
    def joined(parts: Collection[Counted]) -> Counted:
        """One after the other."""
        if not parts:
            return Counted.of(())
        return Counted(
            np.concatenate([part.at_us for part in parts]),
            np.concatenate([part.latency_ms for part in parts]),
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.finite for part in parts]),
        )


def answered(
    record: PredictionRecord, signature: Signature | None, hidden: Collection[str]
) -> AnsweredRequest:
    """One record of a segment that is still written.

    Args:
        hidden: Columns that are not to be shown, though an earlier declaration let them be logged.
    """
    count = min(len(record.rows), ROWS_KEPT)
    inputs = _inputs(record.rows, signature, count)
    numbers, labels, probabilities = record.predictions, record.labels, record.probabilities
    first = tuple(
        AnsweredRow(
            record.ids[place],
            {name: value for name, value in inputs[place].items() if name not in hidden},
            numbers[place] if numbers is not None else None,
            labels[place] if labels is not None else None,
            tuple(probabilities[place]) if probabilities is not None else None,
        )
        for place in range(count)
    )
    return AnsweredRequest(
        record.model, record.number, record.at_us, record.variant, record.latency_ms, record.outcome, record.sampled,
        record.copy_of, len(record.rows), first,
    )  # fmt: skip


def sealed_requests(
    table: pa.Table, model: str, limit: int, hidden: Collection[str]
) -> tuple[Counted, tuple[AnsweredRequest, ...]]:
    """All requests of a sealed table in order of writing, counted, and the last ``limit`` of them."""
    if not table.num_rows:
        return Counted.of(()), ()
    at_us = table["at"].cast(pa.int64()).to_numpy()
    latency = pc.fill_null(table["latency_ms"], np.float32("nan")).to_numpy().astype(np.float64)
    starts = _starts(table, at_us, latency)
    rows = np.diff(np.append(starts, table.num_rows))
    finite = pc.fill_null(pc.equal(table["outcome"], "ok"), True).to_numpy(zero_copy_only=False)
    counted = Counted(at_us[starts], latency[starts], rows.astype(np.int64), finite[starts])
    last = list(zip(starts[-limit:].tolist(), rows[-limit:].tolist(), strict=True))
    kept = [min(count, ROWS_KEPT) for _, count in last]
    places = np.concatenate(
        [np.arange(start, start + count) for (start, _), count in zip(last, kept, strict=True)]
    )
    found = iter(table.take(pa.array(places)).to_pylist())
    requests = [
        _sealed_request(model, [next(found) for _ in range(few)], count, hidden)
        for (_, count), few in zip(last, kept, strict=True)
    ]
    return counted, tuple(requests)


def _starts(
    table: pa.Table, at_us: npt.NDArray[np.int64], latency: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Where another request begins: the rows of one share all of this."""
    changed = np.ones(table.num_rows, dtype=np.bool_)
    changed[1:] = (np.diff(at_us) != 0) | (latency[1:] != latency[:-1])
    for name in ("number", "variant", "outcome", "sampled"):
        codes = table[name].combine_chunks().dictionary_encode().indices
        values = pc.fill_null(codes, -1).to_numpy(zero_copy_only=False)
        changed[1:] |= values[1:] != values[:-1]
    return np.flatnonzero(changed)


def _sealed_request(
    model: str, rows: list[dict[str, Any]], count: int, hidden: Collection[str]
) -> AnsweredRequest:
    head = rows[0]
    sampled = head["sampled"] is not False
    first = tuple(
        AnsweredRow(
            row["id"],
            {
                name.removeprefix(FEATURE_PREFIX): value
                for name, value in row.items()
                if name.startswith(FEATURE_PREFIX) and name.removeprefix(FEATURE_PREFIX) not in hidden
            }
            if sampled
            else {},
            row["prediction"],
            row["label"],
            tuple(row["probability"]) if row["probability"] is not None else None,
        )
        for row in rows
    )
    at_us = int(head["at"].timestamp() * 1_000_000)
    return AnsweredRequest(
        model, head["number"], at_us, head["variant"], head["latency_ms"], head["outcome"], sampled, None, count, first,
        sealed=True,
    )  # fmt: skip


def _inputs(rows: Any, signature: Signature | None, count: int) -> list[dict[str, Any]]:
    if not isinstance(rows, Columns):
        return [dict(row) for row in rows[:count]]
    if rows.matrix is None:
        names = list(rows.values)
    else:
        names = [feature.name for feature in signature.features] if signature is not None else []
    read = columns_of(rows, signature)
    columns = {name: read(name)[:count] for name in names}
    return [
        {name: _missing_as_none(values[place]) for name, values in columns.items()} for place in range(count)
    ]


def _missing_as_none(value: Any) -> Any:
    """NaN in a column means that there was none."""
    return None if isinstance(value, float) and value != value else value
