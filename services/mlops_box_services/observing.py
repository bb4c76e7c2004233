"""Tells the access log and the traces about answered requests, without a request ever waiting for a disk or a collector.

The event loop makes a line of a few microseconds and appends it to a bounded list; a thread writes. Spans cost far more
and are made in that thread, from a bounded queue; then the line is made there, too, since it names the span's trace.
Lines are not left to the thread without need: it would take the interpreter from the event loop, for up to 5 ms each
time, and could not keep up with a busy one. What finds no room goes untold, and is counted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from mlops_box.clock import Clock
from mlops_box.serving.predictor import ModelCall
from mlops_box.serving.trace_context import TraceParent, trace_parent

log = logging.getLogger(__name__)

MAX_QUEUED = 16_384
DRAIN_EVERY_S = 0.05


class Observed(NamedTuple):
    """One answered request, as it lay at hand when it was over.

    Attributes:
        started_s, ended_s: By the clock's monotonic counter.
        protocol: ``http`` or ``grpc``.
        method: ``POST``, or the name of a remote procedure.
        route: The template of the path; ``None`` when there is no such path. Never the path itself.
        status: HTTP's status, or gRPC's; 499 when the client went before its answer.
        outcome: ``ok`` or the error's code.
        headers: Names in lower case; read for ``traceparent`` only.
        client: The address of the other side.
        rows: Of this request.
        joined_s: When they joined their batch.
        call: The call of the model that answered it.
    """

    started_s: float
    ended_s: float
    protocol: str
    method: str
    route: str | None
    status: int
    outcome: str
    request_id: bytes
    headers: Iterable[tuple[bytes, bytes]]
    client: str | None
    bytes_in: int
    bytes_out: int
    model: str | None = None
    version: int | None = None
    variant: str | None = None
    rows: int | None = None
    joined_s: float | None = None
    call: ModelCall | None = None


class Tracer(Protocol):
    """Makes the spans of a request."""

    def record(self, request: Observed, parent: TraceParent | None, epoch_s: float) -> str | None:
        """Record; returns the trace's id.

        Args:
            epoch_s: What to add to the monotonic clock for seconds since 1970.
        """

    def close(self) -> None: ...


class Journal(Protocol):
    """Writes requests down."""

    def add(self, request: Observed, trace_id: str | None, epoch_s: float) -> bool:
        """Take a line, or answer ``False`` when there is no room. Quick; must not raise."""

    def flush(self) -> int:
        """Write what was added; returns how many lines were lost. From one thread; must not raise."""

    def close(self) -> None: ...


class Observers:
    """What is told, and the thread that writes. :meth:`tell` is for the event loop.

    Attributes:
        dropped: Requests that are missing in the access log or the traces.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        tracer: Tracer | None = None,
        journal: Journal | None = None,
        max_queued: int = MAX_QUEUED,
    ):
        self._clock = clock
        self._tracer = tracer
        self._journal = journal
        self._max_queued = max_queued
        self._queue: deque[Observed] = deque()
        self._epoch_s = self._epoch()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.dropped = 0

    def tell(self, request: Observed) -> None:
        """Never waits and never fails."""
        if self._tracer is not None:
            if len(self._queue) < self._max_queued:
                self._queue.append(request)
            else:
                self.dropped += 1
        elif self._journal is not None:
            parent = trace_parent(request.headers)
            trace_id = parent.trace_id if parent is not None else None
            if not self._journal.add(request, trace_id, self._epoch_s):
                self.dropped += 1

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="observers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Tell what is left, and end; idempotent."""
        if self._stop.is_set():
            return
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.drain()
        for part in (self._tracer, self._journal):
            if part is not None:
                part.close()

    def drain(self) -> None:
        """Make the spans that are due, and write."""
        # The wall clock may have been set meanwhile.
        self._epoch_s = self._epoch()
        while self._queue and self._tracer is not None:
            request = self._queue.popleft()
            parent = trace_parent(request.headers)
            trace_id = self._tracer.record(request, parent, self._epoch_s)
            if self._journal is not None and not self._journal.add(request, trace_id, self._epoch_s):
                self.dropped += 1
        if self._journal is not None:
            self.dropped += self._journal.flush()

    def _epoch(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic_s()

    def _run(self) -> None:
        while not self._stop.wait(DRAIN_EVERY_S):
            try:
                self.drain()
            except Exception:  # the thread's boundary: without it a fault would end all telling, silently
                log.exception("requests could not be told to the access log or the traces")
