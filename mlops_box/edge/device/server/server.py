"""The HTTP server: one thread a connection, a bounded number of them, and an orderly end."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from mlops_box.serving.problems import HttpProblem

from .app import App
from .connection import Bounds, Connection

_POLL_S = 0.25
_BACKLOG = 128


class EdgeServer:
    """Listens as soon as it is made; answers while :meth:`run` runs.

    Args:
        host: An address or name; port 0 takes a free one.

    Attributes:
        port: Where it listens.

    Raises:
        OSError: The address is taken or not this machine's.
    """

    def __init__(self, app: App, host: str, port: int, bounds: Bounds = Bounds()) -> None:
        self._app = app
        self._bounds = bounds
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self._listener = socket.create_server(
            (str(address[0]), int(address[1])), family=family, backlog=_BACKLOG
        )
        self._listener.settimeout(_POLL_S)
        self.port = int(self._listener.getsockname()[1])
        self._stopping = threading.Event()
        self._open: set[Connection] = set()
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Accept nothing more and let :meth:`run` end; from any thread or a signal's handler."""
        self._stopping.set()

    def run(self, grace_s: float = 8.0) -> None:
        """Answer until :meth:`stop`; then finish what is under way, within ``grace_s``."""
        while not self._stopping.is_set():
            try:
                accepted, _ = self._listener.accept()
            except socket.timeout:
                continue
            except OSError:  # the client has gone again, or descriptors are short for a moment
                time.sleep(0.01)
                continue
            self._begin(accepted)
        self._listener.close()
        self._end(time.monotonic() + grace_s)

    def _begin(self, accepted: socket.socket) -> None:
        with self._lock:
            is_full = len(self._open) >= self._bounds.connections
            connection = Connection(accepted, self._app, self._bounds)
            if not is_full:
                self._open.add(connection)
        if is_full:
            self._turn_away(accepted)
            return
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        finally:
            with self._lock:
                self._open.discard(connection)

    def _turn_away(self, accepted: socket.socket) -> None:
        problem = HttpProblem(
            503, "connections", f"all {self._bounds.connections} connections are taken",
            hint="try again, and use one connection for many requests",
        )  # fmt: skip
        body = self._app.refusal(problem).body
        with contextlib.suppress(OSError), accepted:
            accepted.settimeout(0.0)
            accepted.send(
                b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
                b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            )

    def _end(self, deadline_s: float) -> None:
        with self._lock:
            left = set(self._open)
        for connection in left:
            connection.close_when_idle()
        while time.monotonic() < deadline_s:
            with self._lock:
                if not self._open:
                    return
            time.sleep(0.01)
