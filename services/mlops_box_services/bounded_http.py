"""uvicorn's HTTP protocol within bounds: sizes, times and numbers of connections, and errors in our one shape.

uvicorn with httptools bounds neither the head of a request nor the time it takes to arrive, and keeps trailers of any
size. What is bounded here costs a request that comes in one piece two look-ups; times are kept by one sweep a second over
all connections, not by a timer each.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from mlops_box.serving.access import MAX_CONNECTIONS
from mlops_box.serving.problems import HttpProblem
from mlops_box_services.front import Front

# Descriptors that are for the box's own files and not for connections.
_OWN_DESCRIPTORS = 256


@dataclass(frozen=True)
class ConnectionBounds:
    """What one connection, and all together, may take.

    Attributes:
        head_bytes: Request line and headers.
        headers: Their number, trailers included.
        framing_bytes: What a body in chunks may have beside its content: chunk heads, extensions, trailers.
        head_s: From the first byte (or the connection's opening) until the head is complete.
        message_s: Until the body is complete; longer than a route waits for it, which answers 408.
        write_s: How long an answer may wait for a client that does not read it.
        connections: Open ones; a further one is answered 503 and closed.
        pressed_idle_s: How long a connection may be idle while nine tenths of them are taken.
    """

    head_bytes: int = 64 * 1024
    headers: int = 128
    framing_bytes: int = 1024 * 1024
    head_s: float = 10.0
    message_s: float = 40.0
    write_s: float = 60.0
    connections: int = MAX_CONNECTIONS
    pressed_idle_s: float = 5.0


def connections_possible(wanted: int = MAX_CONNECTIONS) -> int:
    """How many connections this process can hold: raises its limit of open files as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = wanted + _OWN_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < need:
        raised = need if hard == resource.RLIM_INFINITY else min(need, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    return wanted if soft == resource.RLIM_INFINITY else max(16, min(wanted, soft - _OWN_DESCRIPTORS))


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    bounds = ConnectionBounds()

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._head_bytes = self.bounds.head_bytes
        # Bytes of a message that is not complete yet, and those of them that were its content.
        self._raw_bytes = 0
        self._content_bytes = 0
        self.noted: tuple[object, str, float] | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.bounds.connections:
            self.refuse(HttpProblem(
                503, "connections", f"all {self.bounds.connections} connections are taken",
                hint="try again, and use one connection for many requests", headers=((b"retry-after", b"1"),),
            ))  # fmt: skip

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if len(data) > self._head_bytes and self._is_long_head(data):
            self.refuse(self._head_too_large())
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("the request is no HTTP/1.1")
            return
        except httptools.HttpParserUpgrade:
            # No protocol is changed to: the request is answered as if it had not asked, and nothing may follow it.
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()
            else:
                self.cycle.keep_alive = False
        self.start_incomplete()
        scope = self.scope
        if scope is not None and ("path" not in scope or self.cycle.more_body):
            self._count(len(data))
        elif self._raw_bytes:
            self._raw_bytes = self._content_bytes = 0

    def start_incomplete(self) -> None:
        """For who keeps a request until its body is there: it is not, and the request must go on as uvicorn has it."""

    @property
    def phase(self) -> str:
        """``new`` before the first byte, ``head`` and ``body`` while they arrive, ``rest`` when a message is complete."""
        if self.scope is None:
            return "new"
        if "path" not in self.scope:
            return "head"
        return "body" if self.cycle is not None and self.cycle.more_body else "rest"

    def on_body(self, body: bytes) -> None:
        self._content_bytes += len(body)
        super().on_body(body)

    def refuse(self, problem: HttpProblem) -> None:
        """Answer what never became a request, and close; a request before it still gets its answer."""
        if isinstance(self.app, Front):
            self.app.refused(problem.code)
        if self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body:
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        body = problem.body()
        headers = [
            *self.server_state.default_headers, *problem.headers, (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)), (b"connection", b"close"),
        ]  # fmt: skip
        head = b"".join([b"%b: %b\r\n" % header for header in headers])
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(b"".join([STATUS_LINE[problem.status], head, b"\r\n", body]))
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        self.refuse(HttpProblem(400, "http", msg))

    def _is_long_head(self, data: bytes) -> bool:
        in_head = self.phase != "body"
        return in_head and data.find(b"\r\n\r\n", 0, self.bounds.head_bytes) < 0

    def _count(self, received: int) -> None:
        self._raw_bytes += received
        is_head = "path" not in self.scope
        if (is_head and self._raw_bytes > self.bounds.head_bytes) or len(self.headers) > self.bounds.headers:
            self.refuse(self._head_too_large())
        elif self._raw_bytes - self._content_bytes > self.bounds.framing_bytes:
            self.refuse(HttpProblem(400, "framing", "the body's chunks have more around than in them"))

    def _head_too_large(self) -> HttpProblem:
        return HttpProblem(
            431,
            "head",
            f"the head is larger than {self.bounds.head_bytes} bytes or {self.bounds.headers} headers",
        )


def sweep(connections: Iterable[object], now_s: float) -> None:
    """Close what takes too long; to be called about once a second in the event loop's thread.

    What a connection was seen doing is noted on it; as long as it does the same for the same message, time counts.
    """
    found = [connection for connection in connections if isinstance(connection, BoundedHttpProtocol)]
    for connection in found:
        phase = "write" if connection.transport.get_write_buffer_size() else connection.phase
        noted = connection.noted
        if noted is None or noted[0] is not connection.scope or noted[1] != phase:
            connection.noted = (connection.scope, phase, now_s)
        else:
            pressed = len(found) * 10 >= connection.bounds.connections * 9
            _judge(connection, phase, now_s - noted[2], pressed=pressed)


def _judge(connection: BoundedHttpProtocol, phase: str, lasted_s: float, *, pressed: bool) -> None:
    bounds, transport = connection.bounds, connection.transport
    if phase == "head" and lasted_s > bounds.head_s:
        connection.refuse(
            HttpProblem(408, "timeout", f"the head did not arrive within {bounds.head_s:.0f} s")
        )
    elif phase == "new" and lasted_s > bounds.head_s:
        transport.close()
    elif (phase == "body" and lasted_s > bounds.message_s) or (
        phase == "write" and lasted_s > bounds.write_s
    ):
        transport.abort()
    elif phase == "rest" and pressed and lasted_s > bounds.pressed_idle_s and _is_idle(connection):
        transport.close()


def _is_idle(connection: BoundedHttpProtocol) -> bool:
    return connection.cycle is None or connection.cycle.response_complete
