"""Tells the access log and the traces about answered requests, without a request ever waiting for them.

The event loop only appends to a bounded queue. A thread empties it: it parses ``traceparent``, makes spans and writes
lines. When the queue is full, requests go untold, and are counted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from mlops_box.clock import Clock
from mlops_box.serving.predictor import ModelCall
from mlops_box.serving.trace_context import TraceParent, trace_parent

log = logging.getLogger(__name__)

MAX_QUEUED = 16_384
DRAIN_EVERY_S = 0.05
# Between two of these a write gives the event loop its turn: 64 lines take about half a millisecond.
CHUNK = 64


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


class Told(NamedTuple):
    """An observed request and the trace it belongs to; ``trace_id`` is ``None`` where nobody traces it."""

    request: Observed
    parent: TraceParent | None
    trace_id: str | None


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

    def write(self, requests: Sequence[Told], epoch_s: float) -> int:
        """Write; returns how many were lost. Must not raise."""

    def close(self) -> None: ...


class Observers:
    """The queue and the thread that empties it. :meth:`tell` is for the event loop.

    Attributes:
        dropped: Requests that are missing in the access log and the traces.
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
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.dropped = 0

    def tell(self, request: Observed) -> None:
        """Never waits and never fails."""
        if len(self._queue) < self._max_queued:
            self._queue.append(request)
        else:
            self.dropped += 1

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="observers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Tell what is queued, and end; idempotent."""
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
        """Tell everything that is queued."""
        now = self._clock.now().timestamp() - self._clock.monotonic_s()
        while self._queue:
            chunk = [self._queue.popleft() for _ in range(min(CHUNK, len(self._queue)))]
            told = [self._told(request, now) for request in chunk]
            if self._journal is not None:
                self.dropped += self._journal.write(told, now)

    def _told(self, request: Observed, epoch_s: float) -> Told:
        parent = trace_parent(request.headers)
        trace_id = parent.trace_id if parent is not None else None
        if self._tracer is not None:
            trace_id = self._tracer.record(request, parent, epoch_s) or trace_id
        return Told(request, parent, trace_id)

    def _run(self) -> None:
        while not self._stop.wait(DRAIN_EVERY_S):
            try:
                self.drain()
            except Exception:  # the thread's boundary: without it a fault would end all telling, silently
                log.exception("requests could not be told to the access log or the traces")
