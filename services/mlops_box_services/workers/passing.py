"""Handing an open connection to another process (SCM_RIGHTS, unix(7)).

Who takes a connection says so, in one byte, before it reads from it. What was given and not yet taken when the other side
dies has lost nothing, and can be given to somebody else.
"""

from __future__ import annotations

import socket

_MOST_AT_ONCE = 64


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a stream, both without blocking."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in ends:
        end.setblocking(False)
    return ends


def give(end: socket.socket, connection: socket.socket) -> bool:
    """Hand a connection over; ``False`` when the other side takes none. The caller still owns its own copy."""
    try:
        socket.send_fds(end, [b"c"], [connection.fileno()])
    except OSError:
        return False
    return True


def taken(end: socket.socket) -> int | None:
    """How many more have been taken since this was last asked; ``None`` when the other side has gone."""
    count = 0
    while True:
        try:
            data = end.recv(4096)
        except BlockingIOError:
            return count
        except OSError:
            data = b""
        if not data:
            return count or None
        count += len(data)


def take(end: socket.socket) -> list[socket.socket]:
    """The connections that wait, without waiting for more; each comes with the one byte it was sent with."""
    found: list[socket.socket] = []
    while len(found) < _MOST_AT_ONCE:
        try:
            data, descriptors, _, _ = socket.recv_fds(end, 1, 1)
        except OSError:
            break
        if not data:
            break
        for descriptor in descriptors:
            connection = socket.socket(fileno=descriptor)
            # Python's recv_fds sets neither; a child of a worker must not keep its connections open.
            connection.set_inheritable(False)
            connection.setblocking(False)
            found.append(connection)
    if found:
        end.send(b"t" * len(found))
    return found
