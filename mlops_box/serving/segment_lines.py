"""The byte form of the prediction log.

A segment is a file of lines. A line is the CRC-32 of its body as eight hex digits, a space, the body as JSON and a
newline; its first line is a header. One line holds the requests that were answered together: all their rows and answers.
Where rows came as columns, the line's ``z`` names size and CRC-32 of the raw little-endian values that follow it, with a
newline of their own. What does not match its checksum is never read as data: at the end of a file it is a write cut
short by a crash, and nobody was answered from it.

Format 1 had a line a request, and no raw values. Format 2 had no seventh part of a request, which format 3 writes where
features were looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
import orjson

from mlops_box.serving.columns import Columns
from mlops_box.serving.records import (
    LoggedFeatures,
    LoggedRequest,
    ParsedRows,
    PredictionBatch,
    PredictionIds,
    PredictionRecord,
    Record,
    Rows,
    Truth,
    TruthRecord,
)

FORMAT = 3


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


def truth_line(record: TruthRecord) -> bytes:
    truths = [(truth.id, truth.text, truth.number) for truth in record.truths]
    return encode_line({"k": "t", "m": record.model, "at": record.at_us, "truth": truths})


def batch_line(batch: PredictionBatch) -> bytes:
    """The line, and the raw values after it."""
    payload: list[bytes] = []
    requests = [_request(request, payload) for request in batch.requests]
    body = {
        "k": "b", "m": batch.model, "n": batch.number, "at": batch.at_us, "id": batch.ids[0], "x": requests,
        "p": batch.predictions, "l": batch.labels, "q": batch.probabilities, "t": batch.time_column,
    }  # fmt: skip
    if not payload:
        return encode_line(body)
    data = b"".join(payload)
    body["z"] = (len(data), crc32(data))
    return b"".join((encode_line(body), data, b"\n"))


def record_line(record: PredictionRecord) -> bytes:
    """The line of a batch of one."""
    request = LoggedRequest(
        record.rows,
        record.variant,
        record.latency_ms,
        record.outcome,
        record.sampled,
        record.copy_of,
        record.features,
    )
    ids = PredictionIds.from_first(record.ids[0], len(record.ids))
    return batch_line(
        PredictionBatch(
            record.model, record.number, record.at_us, ids, [request], record.predictions, record.labels,
            record.probabilities, record.time_column,
        )
    )  # fmt: skip


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
            yield from _records(body, payload)


def read_on(path: Path, offset: int, *, at_most_bytes: int) -> tuple[list[Record], int]:
    """For who follows a segment that grows: the whole records behind ``offset``, and the offset behind the last of them.

    Args:
        offset: 0, or what an earlier call gave.
        at_most_bytes: No record is begun behind so many; the next call goes on.
    """
    found: list[Record] = []
    stop = offset + at_most_bytes
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return found, offset
    with file:
        file.seek(offset)
        while offset < stop and (line := file.readline()).endswith(b"\n"):
            body = _decode(line)
            payload = b""
            if body is not None and "z" in body:
                size, checksum = body["z"]
                payload = file.read(size + 1)
                if len(payload) <= size:
                    break
                payload = payload[:-1]
                body = body if crc32(payload) == checksum else None
            offset = file.tell()
            if body is not None:
                found.extend(_records(body, payload))
    return found, offset


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


def _records(body: dict[str, Any], payload: bytes) -> Iterable[Record]:
    if body["k"] == "b":
        return _batch(body, payload).records()
    if body["k"] == "p":
        record = PredictionRecord(
            model=body["m"], number=body["n"], variant=body["v"], at_us=body["at"], ids=body["ids"], rows=body["r"],
            predictions=body["p"], labels=body["l"], probabilities=body["q"], latency_ms=body["ms"],
            outcome=body["o"], time_column=body["t"],
        )  # fmt: skip
        return [record]
    if body["k"] == "t":
        return [TruthRecord(body["m"], body["at"], [Truth(*item) for item in body["truth"]])]
    return []


def _batch(body: dict[str, Any], payload: bytes) -> PredictionBatch:
    requests, start, total = [], 0, 0
    for variant, latency_ms, outcome, told, sampled, copy_of, *rest in body["x"]:
        rows: Rows
        if isinstance(told, list):
            rows = told
        elif isinstance(told["rows"], list):
            rows = told["rows"]
        else:
            rows, start = _unpack(told, payload, start)
        total += len(rows)
        features = LoggedFeatures(*rest[0]) if rest else None
        requests.append(LoggedRequest(rows, variant, latency_ms, outcome, sampled, copy_of, features))
    return PredictionBatch(
        body["m"], body["n"], body["at"], PredictionIds.from_first(body["id"], total), requests, body["p"], body["l"],
        body["q"], body["t"],
    )  # fmt: skip


def _request(request: LoggedRequest, payload: list[bytes]) -> tuple[Any, ...]:
    rows = _rows(request.rows, payload)
    told = (request.variant, request.latency_ms, request.outcome, rows, request.sampled, request.copy_of)
    return told if request.features is None else (*told, tuple(request.features))


def _rows(rows: Rows, payload: list[bytes]) -> Any:
    """What stands in the line: the rows, the body they came in, or what their raw values in ``payload`` are."""
    if isinstance(rows, ParsedRows):
        return orjson.Fragment(rows.body) if rows.body is not None else list(rows)
    return _pack(rows, payload) if isinstance(rows, Columns) else rows


def _pack(columns: Columns, payload: list[bytes]) -> dict[str, Any]:
    """A matrix, or numbers column after column, are raw; other values are JSON."""
    if columns.matrix is not None:
        payload.append(_raw(columns.matrix))
        return {"rows": columns.rows, "matrix": columns.matrix.shape[1]}
    named: dict[str, Any] = {}
    for name, values in columns.values.items():
        if values.dtype.kind in "biufM":
            payload.append(_raw(values))
            named[name] = values.dtype.newbyteorder("<").str
        else:
            named[name] = values.tolist()
    return {"rows": columns.rows, "columns": named}


def _raw(values: npt.NDArray[Any]) -> bytes:
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def _unpack(told: dict[str, Any], payload: bytes, start: int) -> tuple[Columns, int]:
    """The columns whose raw values begin at ``start``, and where they end."""
    rows = told["rows"]
    if "matrix" in told:
        width = told["matrix"]
        flat = np.frombuffer(payload, dtype="<f4", count=rows * width, offset=start)
        return Columns(rows, {}, flat.reshape(rows, width)), start + flat.nbytes
    values: dict[str, npt.NDArray[Any]] = {}
    for name, kind in told["columns"].items():
        if isinstance(kind, str):
            values[name] = np.frombuffer(payload, dtype=np.dtype(kind), count=rows, offset=start)
            start += values[name].nbytes
        else:
            values[name] = np.empty(rows, dtype=object)
            values[name][:] = kind
    return Columns(rows, values), start
