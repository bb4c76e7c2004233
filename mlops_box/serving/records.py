"""What the prediction log holds, and its one byte form.

A segment is a file of lines. A line is the CRC-32 of its body as eight hex digits, a space, the body as JSON and a
newline; its first line is a header. One line holds one request: all its rows and answers. Where the rows came as
columns, the line's ``z`` names size and CRC-32 of the raw little-endian values that follow it, with a newline of their
own. What does not match its checksum is never read as data: at the end of a file it is a write cut short by a crash, and
nobody was answered from it.

Format 1 had no raw values, and a list of all ids in place of the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, overload
from zlib import crc32

import numpy as np
import numpy.typing as npt
import orjson

from mlops_box.serving.columns import Columns

FORMAT = 2
Outcome = Literal["ok", "not_finite"]
PREDICTION_ID_PATTERN = r"[0-9a-hjkmnp-tv-z]{22}-[0-9a-f]{8}"
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

    def texts(self) -> list[str]:
        """All of them, as a list."""
        segment = self._segment
        return [f"{segment}-{number:08x}" for number in range(self._first, self._first + self._count)]

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
    """

    model: str
    number: int
    variant: str
    at_us: int
    ids: Sequence[str]
    rows: Sequence[dict[str, Any]] | Columns
    predictions: Sequence[float | None] | None
    labels: Sequence[str] | None
    probabilities: Sequence[Sequence[float | None]] | None
    latency_ms: float
    outcome: Outcome = "ok"
    time_column: str | None = None

    def to_line(self) -> bytes:
        """The line, and the raw values after it."""
        body = {
            "k": "p", "m": self.model, "n": self.number, "v": self.variant, "at": self.at_us, "id": self.ids[0],
            "r": self.rows, "p": self.predictions, "l": self.labels, "q": self.probabilities,
            "ms": self.latency_ms, "o": self.outcome, "t": self.time_column,
        }  # fmt: skip
        if not isinstance(self.rows, Columns):
            return encode_line(body)
        body["r"], payload = _pack(self.rows)
        body["z"] = [len(payload), crc32(payload)]
        return b"".join((encode_line(body), payload, b"\n"))


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

    def to_line(self) -> bytes:
        truths = [(truth.id, truth.text, truth.number) for truth in self.truths]
        return encode_line({"k": "t", "m": self.model, "at": self.at_us, "truth": truths})


Record = PredictionRecord | TruthRecord


@dataclass
class SegmentReport:
    """What reading a segment met besides good lines; filled while it is read."""

    torn_bytes: int = 0
    damaged_lines: int = 0
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """For ``segments.note``; empty when all was well."""
        parts = list(self.notes)
        if self.torn_bytes:
            parts.append(f"dropped an unfinished last line of {self.torn_bytes} bytes")
        if self.damaged_lines:
            parts.append(f"skipped {self.damaged_lines} damaged lines")
        return "; ".join(parts)


def encode_line(body: dict[str, Any]) -> bytes:
    """``crc32 json newline``; NaN and infinities become ``null``."""
    data = orjson.dumps(body, default=str, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"%08x %b\n" % (crc32(data), data)


def header_line(segment_id: str) -> bytes:
    return encode_line({"k": "h", "format": FORMAT, "segment": segment_id})


def read_segment(path: Path, report: SegmentReport) -> Iterator[Record]:
    """The records of a segment in order of writing; what could not be read is told to ``report``."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        report.notes.append("its file was missing")
        return
    with file:
        while line := file.readline():
            body = _decode(line)
            if body is None:
                if line.endswith(b"\n"):
                    report.damaged_lines += 1
                else:
                    report.torn_bytes = len(line)
                continue
            payload = b""
            if "z" in body:
                size, checksum = body["z"]
                payload = file.read(size + 1)
                if len(payload) <= size:
                    report.torn_bytes = len(line) + len(payload)
                    continue
                payload = payload[:-1]
                if crc32(payload) != checksum:
                    report.damaged_lines += 1
                    continue
            if record := _record(body, payload):
                yield record


def is_prediction_id(text: object) -> bool:
    return isinstance(text, str) and _PREDICTION_ID.fullmatch(text) is not None


def segment_of(prediction_id: str) -> str:
    """The segment that holds a prediction: its id begins with the segment's."""
    return prediction_id.partition("-")[0]


def _decode(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n") or len(line) < 11:
        return None
    data = line[9:-1]
    try:
        if int(line[:8], 16) != crc32(data):
            return None
        body = orjson.loads(data)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _record(body: dict[str, Any], payload: bytes) -> Record | None:
    if body["k"] == "p":
        rows = _unpack(body["r"], payload) if "z" in body else body["r"]
        ids = body["ids"] if "ids" in body else PredictionIds.from_first(body["id"], len(rows))
        return PredictionRecord(
            model=body["m"], number=body["n"], variant=body["v"], at_us=body["at"], ids=ids, rows=rows,
            predictions=body["p"], labels=body["l"], probabilities=body["q"], latency_ms=body["ms"],
            outcome=body["o"], time_column=body["t"],
        )  # fmt: skip
    if body["k"] == "t":
        return TruthRecord(body["m"], body["at"], [Truth(*item) for item in body["truth"]])
    return None


def _pack(columns: Columns) -> tuple[dict[str, Any], bytes]:
    """What stands in the line, and the raw values: a matrix, or numbers column after column; other values are JSON."""
    if columns.matrix is not None:
        return {"rows": columns.rows, "matrix": columns.matrix.shape[1]}, _raw(columns.matrix)
    named: dict[str, Any] = {}
    parts = []
    for name, values in columns.values.items():
        if values.dtype.kind in "biufM":
            parts.append(_raw(values))
            named[name] = values.dtype.newbyteorder("<").str
        else:
            named[name] = values.tolist()
    return {"rows": columns.rows, "columns": named}, b"".join(parts)


def _raw(values: npt.NDArray[Any]) -> bytes:
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def _unpack(told: dict[str, Any], payload: bytes) -> Columns:
    rows = told["rows"]
    if "matrix" in told:
        return Columns(rows, {}, np.frombuffer(payload, dtype="<f4").reshape(rows, told["matrix"]))
    values: dict[str, npt.NDArray[Any]] = {}
    start = 0
    for name, kind in told["columns"].items():
        if isinstance(kind, str):
            dtype = np.dtype(kind)
            values[name] = np.frombuffer(payload, dtype=dtype, count=rows, offset=start)
            start += rows * dtype.itemsize
        else:
            values[name] = np.empty(rows, dtype=object)
            values[name][:] = kind
    return Columns(rows, values)
