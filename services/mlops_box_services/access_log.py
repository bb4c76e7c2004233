"""The access log: one JSON object a line and request, without bodies, paths or headers.

Several workers append to the same file. Writing and cutting happen under the file's lock, so that no line is torn or
lost; names and sizes are those of the other logs.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from mlops_box.operations.supervisor.logfiles import KEPT, MAX_BYTES, rotate
from mlops_box_services.observing import Told

log = logging.getLogger(__name__)

FILE_NAME = "access.log"
FIELDS = (
    "time", "request_id", "trace_id", "protocol", "method", "route", "status", "outcome", "model", "version",
    "variant", "rows", "latency_ms", "bytes_in", "bytes_out", "client",
)  # fmt: skip
# What a stranger can choose is kept to these, whoever checked it before: a line is made to be read in a terminal.
_HARMLESS = re.compile(r"[A-Za-z0-9._:/+=@\[\]-]{1,128}")


class AccessLog:
    """Appends lines to ``folder/access.log``; a file that cannot be written loses lines, never a request."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES, kept: int = KEPT):
        self._path = folder / FILE_NAME
        self._max_bytes = max_bytes
        self._kept = kept
        self._descriptor: int | None = None
        self._failed = False

    def write(self, requests: Sequence[Told], epoch_s: float) -> int:
        """Write a line each; returns how many were lost."""
        data = b"".join([line(told, epoch_s) for told in requests])
        try:
            self._append(data)
        except OSError as error:
            if not self._failed:
                log.error("the access log cannot be written, lines are lost: %s", error)
            self._failed = True
            self.close()
            return len(requests)
        if self._failed:
            log.info("the access log is written again")
        self._failed = False
        return 0

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, data: bytes) -> None:
        if self._descriptor is None:
            self._descriptor = os.open(
                self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
            )
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            start = os.fstat(self._descriptor).st_size
            if start + len(data) > self._max_bytes and start:
                # Within the lock nobody writes: what the copy-and-cut of logs may lose is not lost here.
                rotate(self._path, max_bytes=0, kept=self._kept)
                start = 0
            if os.write(self._descriptor, data) != len(data):
                os.ftruncate(self._descriptor, start)
                raise OSError(28, "no space left on the device")
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)


def line(told: Told, epoch_s: float) -> bytes:
    """The line of one request, with its newline."""
    request = told.request
    at = datetime.fromtimestamp(epoch_s + request.ended_s, UTC)
    content: dict[str, Any] = {
        "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "request_id": _harmless(request.request_id.decode("latin-1")),
        "trace_id": told.trace_id,
        "protocol": request.protocol,
        "method": _harmless(request.method),
        "route": request.route,
        "status": request.status,
        "outcome": request.outcome,
        "model": request.model,
        "version": request.version,
        "variant": request.variant,
        "rows": request.rows,
        "latency_ms": round((request.ended_s - request.started_s) * 1000, 3),
        "bytes_in": request.bytes_in,
        "bytes_out": request.bytes_out,
        "client": _harmless(request.client) if request.client is not None else None,
    }
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)


def _harmless(text: str) -> str | None:
    return text if _HARMLESS.fullmatch(text) else None
