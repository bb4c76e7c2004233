"""What the prediction log holds, and its one byte form.

A segment is a file of lines. A line is the CRC-32 of its body as eight hex digits, a space, the body as JSON and a
newline; its first line is a header. One line holds one request: all its rows and answers. A line that does not match
its checksum is never read as data: at the end of a file it is a write cut short by a crash, and nobody was answered
from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import orjson

FORMAT = 1
Outcome = Literal["ok", "not_finite"]
PREDICTION_ID_PATTERN = r"[0-9a-hjkmnp-tv-z]{22}-[0-9a-f]{8}"
_PREDICTION_ID = re.compile(PREDICTION_ID_PATTERN)


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """One answered request.

    Attributes:
        at_us: When it was answered: microseconds since 1970, UTC.
        rows: The rows as received; every one passed the contract.
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
    rows: Sequence[dict[str, Any]]
    predictions: Sequence[float | None] | None
    labels: Sequence[str] | None
    probabilities: Sequence[Sequence[float | None]] | None
    latency_ms: float
    outcome: Outcome = "ok"
    time_column: str | None = None

    def to_line(self) -> bytes:
        return encode_line(
            {
                "k": "p", "m": self.model, "n": self.number, "v": self.variant, "at": self.at_us, "ids": self.ids,
                "r": self.rows, "p": self.predictions, "l": self.labels, "q": self.probabilities,
                "ms": self.latency_ms, "o": self.outcome, "t": self.time_column,
            }
        )  # fmt: skip


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
    data = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
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
        for line in file:
            body = _decode(line)
            if body is not None:
                if record := _record(body):
                    yield record
            elif line.endswith(b"\n"):
                report.damaged_lines += 1
            else:
                report.torn_bytes = len(line)


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


def _record(body: dict[str, Any]) -> Record | None:
    if body["k"] == "p":
        return PredictionRecord(
            model=body["m"], number=body["n"], variant=body["v"], at_us=body["at"], ids=body["ids"], rows=body["r"],
            predictions=body["p"], labels=body["l"], probabilities=body["q"], latency_ms=body["ms"],
            outcome=body["o"], time_column=body["t"],
        )  # fmt: skip
    if body["k"] == "t":
        return TruthRecord(body["m"], body["at"], [Truth(*item) for item in body["truth"]])
    return None
