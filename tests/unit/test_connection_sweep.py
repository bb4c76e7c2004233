"""The sweep closes what takes too long, and nothing else."""

from __future__ import annotations

import resource
from types import SimpleNamespace
from typing import Any

import pytest
from mlops_box_services.bounded_http import BoundedHttpProtocol, ConnectionBounds, connections_possible, sweep

BOUNDS = ConnectionBounds()


class Transport:
    """What the sweep needs of a transport, and what was done to it."""

    def __init__(self, unread_bytes: int = 0):
        self.unread_bytes = unread_bytes
        self.done: list[str] = []
        self.written = b""

    def get_write_buffer_size(self) -> int:
        return self.unread_bytes

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.done.append("close")

    def abort(self) -> None:
        self.done.append("abort")


class Connection(BoundedHttpProtocol):
    def __init__(self, phase: str, *, unread_bytes: int = 0, bounds: ConnectionBounds = BOUNDS):
        self.bounds = bounds
        self.noted = None
        self.app: Any = None
        self.server_state: Any = SimpleNamespace(default_headers=[])
        self.transport: Any = Transport(unread_bytes)
        self.scope: Any = None if phase == "new" else {} if phase == "head" else {"path": "/"}
        is_complete = phase in ("rest", "idle")
        cycle = SimpleNamespace(more_body=not is_complete, response_complete=phase in ("idle", "refused"))
        self.cycle: Any = None if phase in ("new", "head") else cycle


def swept(connection: Connection, seconds: float, *, beside: int = 0) -> list[str]:
    others = [Connection("rest") for _ in range(beside)]
    for second in range(int(seconds) + 1):
        sweep([connection, *others], float(second))
        if connection.transport.done:
            break
    assert all(other.transport.done == [] for other in others)
    done: list[str] = connection.transport.done
    return done


@pytest.mark.parametrize(
    ("phase", "unread_bytes", "limit_s", "end"),
    [
        ("new", 0, BOUNDS.head_s, "close"),
        ("head", 0, BOUNDS.head_s, "close"),
        ("body", 0, BOUNDS.message_s, "abort"),
        ("refused", 0, BOUNDS.message_s, "abort"),
        ("rest", 1, BOUNDS.write_s, "abort"),
        ("idle", 1, BOUNDS.write_s, "abort"),
    ],
)
def test_what_takes_too_long_ends_at_its_limit(
    phase: str, unread_bytes: int, limit_s: float, end: str
) -> None:
    assert swept(Connection(phase, unread_bytes=unread_bytes), limit_s) == []
    assert swept(Connection(phase, unread_bytes=unread_bytes), limit_s + 2) == [end]


def test_a_slow_head_is_told_so() -> None:
    connection = Connection("head")
    swept(connection, BOUNDS.head_s + 2)
    assert connection.transport.written.startswith(b"HTTP/1.1 408 ")
    assert b'{"error":{"code":"timeout"' in connection.transport.written


def test_a_request_under_way_and_an_idle_connection_are_left_alone() -> None:
    assert swept(Connection("rest"), 600) == []
    assert swept(Connection("idle"), 600) == []


def test_time_begins_anew_with_each_message() -> None:
    connection = Connection("body")
    for second in range(600):
        if second % 30 == 0:
            connection.scope = {"path": "/"}
        sweep([connection], float(second))
    assert connection.transport.done == []


def test_idle_connections_make_room_when_nearly_all_are_taken() -> None:
    bounds = ConnectionBounds(connections=20)
    idle, busy = Connection("idle", bounds=bounds), Connection("rest", bounds=bounds)
    assert swept(idle, 60, beside=16) == []
    assert swept(idle, bounds.pressed_idle_s + 2, beside=17) == ["close"]
    assert swept(busy, 60, beside=19) == []


@pytest.mark.parametrize(
    ("limits", "wanted", "possible", "raised"),
    [
        ((1024, 65536), 4096, 4096, 4352),
        ((1024, 2048), 4096, 1792, 2048),
        ((8192, 65536), 4096, 4096, None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 4096, 4096, None),
        ((1024, resource.RLIM_INFINITY), 4096, 4096, 4352),
        ((64, 64), 4096, 16, 64),
    ],
)
def test_the_limit_of_open_files_bounds_the_connections(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], wanted: int, possible: int, raised: int | None
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda kind, both: asked.append(both[0]))
    assert connections_possible(wanted) == possible
    assert asked == ([raised] if raised is not None else [])


def test_where_the_limit_cannot_be_raised_there_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: int, both: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 65536))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert connections_possible(4096) == 768
