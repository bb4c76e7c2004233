"""One HTTP/1.1 connection: requests read within bounds, answered one after the other, kept alive.

Written over a plain socket: a request that arrives in one piece costs one read and one write. ``http.server`` would read
line by line through a mail parser, without a bound on the time that takes, and doubles a server's start. What is not
needed here is refused: bodies in chunks, folded headers, anything but HTTP/1.x in origin form (RFC 9112).
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from dataclasses import dataclass

from mlops_box.serving.problems import HttpProblem

from .app import App
from .exchange import Answer, Request

_READ_BYTES = 64 * 1024
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(rb"/[\x21-\x7e]*")
_PHRASES = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 408: b"Request Timeout", 409: b"Conflict", 411: b"Length Required",
    413: b"Content Too Large", 415: b"Unsupported Media Type", 421: b"Misdirected Request",
    422: b"Unprocessable Content", 429: b"Too Many Requests", 431: b"Request Header Fields Too Large",
    500: b"Internal Server Error", 503: b"Service Unavailable",
}  # fmt: skip
_STATUS_LINE = {status: b"HTTP/1.1 %d %b\r\n" % (status, phrase) for status, phrase in _PHRASES.items()}


@dataclass(frozen=True)
class Bounds:
    """What one connection, and all together, may take.

    Attributes:
        head_bytes: Request line and headers.
        head_s: From a request's first byte (a connection's opening) until its head is complete.
        body_s: From there until its body is.
        write_s: How long an answer may wait for a client that does not read it.
        idle_s: Between requests.
        linger_s: How long what a refused client still sends is thrown away, so that it gets to read why.
        connections: Open ones; a further one is answered 503 and closed.
    """

    head_bytes: int = 64 * 1024
    headers: int = 128
    head_s: float = 10.0
    body_s: float = 30.0
    write_s: float = 60.0
    idle_s: float = 75.0
    linger_s: float = 1.0
    connections: int = 64


class _Gone(Exception):
    """The client closed, or never came back."""


class Connection:
    """Serves one socket in its own thread until one side has enough.

    Attributes:
        busy: Whether a request is being answered.
    """

    def __init__(self, sock: socket.socket, app: App, bounds: Bounds) -> None:
        self._socket = sock
        self._app = app
        self._bounds = bounds
        self._buffer = b""
        self._closing = threading.Event()
        self.busy = False

    def serve(self) -> None:
        """Read and answer until the connection ends."""
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wait_s = self._bounds.head_s
            while self._answer_next(wait_s):
                wait_s = self._bounds.idle_s
        except (_Gone, OSError):
            pass
        finally:
            self._socket.close()

    def close_when_idle(self) -> None:
        """From any thread: what has arrived is still answered, then the connection ends."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def _answer_next(self, wait_s: float) -> bool:
        """Answer one request; whether another may follow."""
        try:
            head = self._read_head(wait_s)
            self.busy = True
            started_s = time.monotonic()
            request, keep_alive, length, expects = self._parse(head, started_s)
        except HttpProblem as problem:
            self.busy = True
            self._write(self._app.refusal(problem), b"-", False, True)
            self._linger()
            return False
        unread = [length]

        def read_body() -> bytes:
            if expects and unread[0] > len(self._buffer):
                self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = self._take(unread[0], started_s + self._bounds.body_s)
            unread[0] = 0
            return body

        request.read_body = read_body
        answer = self._app.respond(request)
        keep_alive = keep_alive and not unread[0] and not self._closing.is_set()
        self._write(answer, request.request_id, keep_alive, request.method != "HEAD")
        if unread[0]:
            self._linger()
        self.busy = False
        return keep_alive

    def _read_head(self, wait_s: float) -> bytes:
        """The next head without its empty line.

        Raises:
            HttpProblem: 431 too large, 408 not there in time.
        """
        deadline_s = time.monotonic() + (self._bounds.head_s if self._buffer else wait_s)
        begun = bool(self._buffer)
        while True:
            end = self._buffer.find(b"\r\n\r\n", 0, self._bounds.head_bytes)
            if end >= 0:
                head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
                return head
            if len(self._buffer) >= self._bounds.head_bytes:
                raise HttpProblem(431, "head", f"the head is larger than {self._bounds.head_bytes} bytes")
            try:
                data = self._receive(deadline_s)
            except socket.timeout:
                if not begun:
                    raise _Gone from None
                raise HttpProblem(
                    408, "timeout", f"the head did not arrive within {self._bounds.head_s:.0f} s"
                ) from None
            if not data:
                raise _Gone
            if not begun:
                begun = True
                deadline_s = time.monotonic() + self._bounds.head_s
                data = data.lstrip(b"\r\n")  # RFC 9112, section 2.2
            self._buffer += data

    def _receive(self, deadline_s: float) -> bytes:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise socket.timeout
        self._socket.settimeout(left_s)
        return self._socket.recv(_READ_BYTES)

    def _parse(self, head: bytes, started_s: float) -> tuple[Request, bool, int, bool]:
        """The request, whether the connection may go on, its body's length, and whether the client waits for our word."""
        first, *lines = head.split(b"\r\n")
        parts = first.split(b" ")
        if len(parts) != 3 or parts[2] not in (b"HTTP/1.1", b"HTTP/1.0") or not _TOKEN.fullmatch(parts[0]):
            raise _no_http()
        if not _TARGET.fullmatch(parts[1]):
            raise HttpProblem(400, "http", "the request's target is no path")
        if len(lines) > self._bounds.headers:
            raise HttpProblem(431, "head", f"the head has more than {self._bounds.headers} headers")
        headers = [_header(line) for line in lines]
        length: bytes | None = None
        connection = expect = b""
        for name, value in headers:
            if name == b"content-length":
                if length is not None and length != value:
                    raise HttpProblem(400, "content_length", "the request names two content lengths")
                length = value
            elif name == b"transfer-encoding":
                raise HttpProblem(
                    411, "length", "bodies in chunks are not read here", hint="send a Content-Length"
                )
            elif name == b"connection":
                connection = value.lower()
            elif name == b"expect":
                expect = value.lower()
        keep_alive = connection != b"close" if parts[2] == b"HTTP/1.1" else connection == b"keep-alive"
        # What is no number, or too large, is refused by the guard before anything is read.
        size = int(length) if length is not None and length.isdigit() and len(length) <= 18 else 0
        if length is not None and size == 0 and length.strip(b"0"):
            size = 1  # the connection cannot go on behind a length that is none
        request = Request(parts[0].decode(), _path(parts[1]), headers, lambda: b"", started_s)
        return request, keep_alive, size, expect == b"100-continue"

    def _take(self, count: int, deadline_s: float) -> bytes:
        """The next ``count`` bytes.

        Raises:
            HttpProblem: 408 not there in time.
        """
        if len(self._buffer) < count:
            parts, have = [self._buffer], len(self._buffer)
            try:
                while have < count:
                    data = self._receive(deadline_s)
                    if not data:
                        raise _Gone
                    parts.append(data)
                    have += len(data)
            except socket.timeout:
                message = f"the body did not arrive within {self._bounds.body_s:.0f} s"
                raise HttpProblem(408, "timeout", message) from None
            self._buffer = b"".join(parts)
        body, self._buffer = self._buffer[:count], self._buffer[count:]
        return body

    def _write(self, answer: Answer, request_id: bytes, keep_alive: bool, with_body: bool) -> None:
        lines: list[bytes] = [
            _STATUS_LINE[answer.status],
            b"content-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n"
            % (answer.content_type, len(answer.body), request_id),
        ]
        lines += [b"%b: %b\r\n" % header for header in answer.headers]
        if not keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        if with_body:
            lines.append(answer.body)
        self._socket.settimeout(self._bounds.write_s)
        self._socket.sendall(b"".join(lines))

    def _linger(self) -> None:
        """Close our side, and throw away what still comes for a while: a reset would take the answer with it."""
        self._socket.shutdown(socket.SHUT_WR)
        deadline_s = time.monotonic() + self._bounds.linger_s
        with contextlib.suppress(socket.timeout):
            while self._receive(deadline_s):
                pass


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, separator, value = line.partition(b":")
    value = value.strip(b" \t")
    if not separator or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
        raise _no_http()
    return name.lower(), value


def _path(target: bytes) -> str:
    path = target.partition(b"?")[0]
    if b"%" in path:
        from urllib.parse import unquote_to_bytes

        path = unquote_to_bytes(path)
    return path.decode("utf-8", "replace")


def _no_http() -> HttpProblem:
    return HttpProblem(400, "http", "the request is no HTTP/1.1")
