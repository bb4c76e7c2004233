"""The access log: one JSON object a line and request, without bodies, paths or headers.

Several workers append to the same file. Writing and cutting happen under the file's lock, so that no line is torn or
lost; names and sizes are those of the other logs.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from mlops_box.operations.supervisor.logfiles import KEPT, MAX_BYTES, rotate
from mlops_box_services.observing import Observed

log = logging.getLogger(__name__)

FILE_NAME = "access.log"
FIELDS = (
    "time", "request_id", "trace_id", "protocol", "method", "route", "status", "outcome", "model", "version",
    "variant", "rows", "latency_ms", "bytes_in", "bytes_out", "client",
)  # fmt: skip
MAX_LINES = 16_384
# What a stranger can choose is kept to these, whoever checked it before: a line is made to be read in a terminal.
_HARMLESS = re.compile(r"[A-Za-z0-9._:/+=@\[\]-]{1,128}")
_HARMLESS_ID = re.compile(_HARMLESS.pattern.encode())
_LINES_A_WRITE = 1024
_REMEMBERED = 512


class AccessLog:
    """Appends lines to ``folder/access.log``; a file that cannot be written loses lines, never a request.

    :meth:`add` is for the event loop or one other thread, :meth:`flush` for one thread.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int = MAX_BYTES, kept: int = KEPT, max_lines: int = MAX_LINES
    ):
        self._path = folder / FILE_NAME
        self._max_bytes = max_bytes
        self._kept = kept
        self._max_lines = max_lines
        self._lines: deque[bytes] = deque()
        self._second = -1
        self._second_text = ""
        self._known: dict[str, str | None] = {}
        self._descriptor: int | None = None
        self._failed = False

    def add(self, request: Observed, trace_id: str | None, epoch_s: float) -> bool:
        """Take the line of a request; ``False`` when too many wait."""
        if len(self._lines) >= self._max_lines:
            return False
        self._lines.append(self._line(request, trace_id, epoch_s))
        return True

    def flush(self) -> int:
        """Write what was added; returns how many lines were lost."""
        lost = 0
        while self._lines:
            lines = [self._lines.popleft() for _ in range(min(_LINES_A_WRITE, len(self._lines)))]
            try:
                self._append(b"".join(lines))
            except OSError as error:
                if not self._failed:
                    log.error("the access log cannot be written, lines are lost: %s", error)
                self._failed = True
                self.close()
                lost += len(lines)
                continue
            if self._failed:
                log.info("the access log is written again")
            self._failed = False
        return lost

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _line(self, request: Observed, trace_id: str | None, epoch_s: float) -> bytes:
        request_id = request.request_id
        content: dict[str, Any] = {
            "time": self._time(epoch_s + request.ended_s),
            "request_id": request_id.decode() if _HARMLESS_ID.fullmatch(request_id) else None,
            "trace_id": trace_id,
            "protocol": request.protocol,
            "method": self._harmless(request.method),
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
            "client": self._harmless(request.client) if request.client is not None else None,
        }
        return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)

    def _time(self, at_s: float) -> str:
        second = int(at_s)
        if second != self._second:
            self._second = second
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._second_text}.{int((at_s - second) * 1000):03d}Z"

    def _harmless(self, text: str) -> str | None:
        """``text``, or ``None`` where it could do harm; the same few come again and again."""
        if text not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[text] = text if _HARMLESS.fullmatch(text) else None
        return self._known[text]

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
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
