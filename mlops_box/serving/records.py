"""What the prediction log holds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from mlops_box.serving.columns import Columns

Outcome = Literal["ok", "not_finite"]
Rows = Sequence[dict[str, Any]] | Columns
PREDICTION_ID_PATTERN = r"[0-9a-hjkmnp-tv-z]{22}-[0-9a-f]{8}"
# Spelling a number costs more than joining two texts.
_TAILS = tuple(f"{number:02x}" for number in range(256))
_PREDICTION_ID = re.compile(PREDICTION_ID_PATTERN)


class PredictionIds(Sequence[str]):
    """The ids of one request's rows: a segment and consecutive numbers, spelt when they are asked for."""

    __slots__ = ("_count", "_first", "_segment")

    def __init__(self, segment: str, first: int, count: int):
        self._segment = segment
        self._first = first
        self._count = count

    @staticmethod
    def from_first(id_: str, count: int) -> PredictionIds:
        """The ids that begin with ``id_``."""
        segment, _, number = id_.partition("-")
        return PredictionIds(segment, int(number, 16), count)

    def part(self, start: int, stop: int) -> PredictionIds:
        """The ids from ``start`` to before ``stop``."""
        return PredictionIds(self._segment, self._first + start, stop - start)

    def texts(self) -> list[str]:
        """All of them, as a list."""
        first, end = self._first, self._first + self._count
        if self._count == 1:
            return [f"{self._segment}-{first:08x}"]
        found: list[str] = []
        for high in range(first >> 8, (end - 1 >> 8) + 1):
            head = f"{self._segment}-{high:06x}"
            found += [head + tail for tail in _TAILS[max(0, first - (high << 8)) : end - (high << 8)]]
        return found

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return self.texts()[index]
        return f"{self._segment}-{range(self._first, self._first + self._count)[index]:08x}"


class LoggedFeatures(NamedTuple):
    """What a request's rows got from the feature store; times are microseconds since 1970, UTC.

    Attributes:
        definitions: The digest of each view's definition.
        entities: Of each row.
        at_us: The moment of each row that was looked up.
        seen_us: When it was looked up: what became known later could not be seen.
        observed: By view, for each row: ``(time, known)`` of the observation that was found, of whatever age.
    """

    definitions: Mapping[str, str]
    entities: Sequence[dict[str, Any]]
    at_us: Sequence[int]
    seen_us: int
    observed: Mapping[str, Sequence[tuple[int, int] | None]]


@dataclass(frozen=True, slots=True)
class DeviceOrigin:
    """Where a row was answered.

    Attributes:
        boot: In which life of the device.
        clock_us: When, by the device's own clock, which may be wrong; microseconds since 1970. ``None``: the row tells its
            event time.
    """

    name: str
    boot: str
    clock_us: int | None


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """One answered request.

    Attributes:
        at_us: When it was answered: microseconds since 1970, UTC.
        rows: The rows as received, or columns; every one passed the contract.
        predictions: One number a row for regression, the second class's probability for binary, else ``None``.
        labels: The class of each row as text; ``None`` for regression.
        probabilities: One list a row, in the order of the signature's classes; ``None`` for regression.
        latency_ms: From the request's arrival to the record.
        time_column: The column of ``rows`` that holds their event time, where the project declares one.
        sampled: Whether the rows are logged; otherwise ``rows`` holds only their event times.
        copy_of: Of a shadow's answer: the first id of the request that it answers again.
        device: The device that answered this one row; ``None``: this box.
        features: Where some of the rows' values were looked up; ``None``: all came with the request.
    """

    model: str
    number: int
    variant: str
    at_us: int
    ids: Sequence[str]
    rows: Rows
    predictions: Sequence[float | None] | None
    labels: Sequence[str] | None
    probabilities: Sequence[Sequence[float | None]] | None
    latency_ms: float
    outcome: Outcome = "ok"
    time_column: str | None = None
    sampled: bool = True
    copy_of: str | None = None
    device: DeviceOrigin | None = None
    features: LoggedFeatures | None = None


class ParsedRows(list[dict[str, Any]]):
    """Rows that were read from a JSON body ``{"rows": [...]}``, with what is known of them since.

    Attributes:
        body: The body, which the log need not write anew; without a line break, since a record is a line.
        matrix: The rows as the model reads them, float32 [rows, features], where they were checked so.
        features: What was looked up for them.
    """

    body: bytes | None = None
    matrix: npt.NDArray[np.float32] | None = None
    features: LoggedFeatures | None = None


class LoggedRequest(NamedTuple):
    """One request of a batch; see :class:`PredictionRecord`."""

    rows: Rows
    variant: str
    latency_ms: float
    outcome: Outcome
    sampled: bool = True
    copy_of: str | None = None
    features: LoggedFeatures | None = None


class PredictionBatch(NamedTuple):
    """Requests of one version that were answered together; one line of the log.

    Attributes:
        ids: Of all rows, in the order of the requests; as ``predictions``, ``labels`` and ``probabilities``.
    """

    model: str
    number: int
    at_us: int
    ids: PredictionIds
    requests: Sequence[LoggedRequest]
    predictions: Sequence[float | None] | None
    labels: Sequence[str] | None
    probabilities: Sequence[Sequence[float | None]] | None
    time_column: str | None = None

    def records(self) -> list[PredictionRecord]:
        """One record a request."""
        found, start = [], 0
        for request in self.requests:
            stop = start + len(request.rows)
            found.append(
                PredictionRecord(
                    self.model, self.number, request.variant, self.at_us, self.ids.part(start, stop), request.rows,
                    self.predictions[start:stop] if self.predictions is not None else None,
                    self.labels[start:stop] if self.labels is not None else None,
                    self.probabilities[start:stop] if self.probabilities is not None else None,
                    request.latency_ms, request.outcome, self.time_column, request.sampled, request.copy_of,
                    features=request.features,
                )
            )  # fmt: skip
            start = stop
        return found


@dataclass(frozen=True, slots=True)
class Truth:
    """What really happened: ``text`` is the class (or the number as text), ``number`` the number where there is one."""

    id: str
    text: str
    number: float | None


@dataclass(frozen=True, slots=True)
class TruthRecord:
    """Ground truth for earlier predictions of one model."""

    model: str
    at_us: int
    truths: Sequence[Truth]


Record = PredictionRecord | TruthRecord


def is_prediction_id(text: object) -> bool:
    return isinstance(text, str) and _PREDICTION_ID.fullmatch(text) is not None


def segment_of(prediction_id: str) -> str:
    """The segment that holds a prediction: its id begins with the segment's."""
    return prediction_id.partition("-")[0]
