"""The device's HTTP server within bounds: of connections, of time, of what is read; and its orderly end."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import cast

from mlops_box.edge.device.server.app import App
from mlops_box.edge.device.server.connection import Bounds
from mlops_box.edge.device.server.exchange import Answer, Request
from mlops_box.edge.device.server.server import EdgeServer
from mlops_box.serving.problems import HttpProblem

GET = b"GET /x HTTP/1.1\r\nhost: localhost\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n%b\r\n"
BOUNDS = Bounds(head_s=0.3, body_s=0.3, idle_s=0.3, linger_s=5.0, connections=3)


class Echo:
    """Answers with the body; ``/unread`` leaves it unread."""

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self._before = before

    def respond(self, request: Request) -> Answer:
        self._before()
        if request.path == "/unread":
            return Answer(413, b"too large")
        try:
            return Answer(200, request.read_body() or b"nothing")
        except HttpProblem as problem:
            return self.refusal(problem)

    def refusal(self, problem: HttpProblem) -> Answer:
        return Answer(problem.status, problem.body())


@contextlib.contextmanager
def served(echo: Echo, bounds: Bounds = BOUNDS) -> Iterator[tuple[EdgeServer, threading.Thread]]:
    server = EdgeServer(cast(App, echo), "127.0.0.1", 0, bounds)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server, thread
    finally:
        server.stop()
        thread.join(20)


def connect(server: EdgeServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def rest_of(connection: socket.socket) -> bytes:
    """All that still comes, until the other side closes."""
    found = b""
    while data := connection.recv(65536):
        found += data
    return found


def test_one_connection_too_many_is_told_so_and_closed() -> None:
    with served(Echo(), Bounds(connections=3)) as (server, _), contextlib.ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(connect(server))
            connection.sendall(GET)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
        with connect(server) as fourth:
            answer = rest_of(fourth)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"all 3 connections are taken" in answer


def test_who_is_slow_is_cut_off_and_who_is_silent_is_closed() -> None:
    with served(Echo()) as (server, _):
        with connect(server) as slow:
            slow.sendall(b"GET /x HTTP/1.1\r\n")
            assert rest_of(slow).startswith(b"HTTP/1.1 408 ")
        with connect(server) as slow:
            slow.sendall(POST % (10, b"") + b"half")
            assert rest_of(slow).startswith(b"HTTP/1.1 408 ")
        with connect(server) as silent:
            assert rest_of(silent) == b""
        with connect(server) as silent:
            silent.sendall(GET)
            answer = rest_of(silent)
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert answer.endswith(b"nothing")


def test_who_is_refused_before_its_body_was_read_gets_to_see_why() -> None:
    with served(Echo()) as (server, _), connect(server) as connection:
        size = 4_000_000
        connection.sendall(b"POST /unread HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % size)
        connection.sendall(b"x" * size)
        answer = rest_of(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer


def test_who_waits_for_a_word_before_sending_its_body_gets_it() -> None:
    with served(Echo()) as (server, _), connect(server) as connection:
        connection.sendall(POST % (4, b"expect: 100-continue\r\n"))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"body")
        assert connection.recv(65536).endswith(b"\r\n\r\nbody")


def test_a_head_only_request_gets_no_body_and_an_old_client_no_kept_connection() -> None:
    with served(Echo()) as (server, _):
        with connect(server) as connection:
            connection.sendall(b"HEAD /x HTTP/1.1\r\nhost: localhost\r\n\r\n")
            answer = connection.recv(65536)
            assert answer.endswith(b"\r\n\r\n")
            assert b"content-length: 7" in answer
        with connect(server) as old:
            old.sendall(b"GET /%61%2F HTTP/1.0\r\nhost: localhost\r\n\r\n")
            assert b"connection: close" in rest_of(old)


def test_asked_to_stop_it_finishes_what_is_under_way() -> None:
    entered, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        go_on.wait(20)

    with served(Echo(wait), Bounds()) as (server, thread):
        with connect(server) as idle, connect(server) as busy:
            busy.sendall(GET)
            assert entered.wait(20)
            server.stop()
            assert rest_of(idle) == b"", "an idle connection is closed at once"
            assert thread.is_alive()
            go_on.set()
            answer = rest_of(busy)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"connection: close" in answer
        thread.join(20)
        assert not thread.is_alive()
