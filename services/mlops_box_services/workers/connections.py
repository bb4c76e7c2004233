"""The connections of a worker: taken over, counted, and asked to end politely."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from typing import Any

import uvicorn


class Connections:
    """All connections that were handed to this process.

    Args:
        server: uvicorn's server, started.
        config: Its configuration, loaded by then.
        on_lost: Called after a connection ended.

    Attributes:
        lost: Connections that ended, in all.
        is_leaving: What is taken over from now on ends after its first answer.
    """

    def __init__(self, server: uvicorn.Server, config: uvicorn.Config, *, on_lost: Callable[[], None]):
        self._server = server
        self._config = config
        self._on_lost = on_lost
        self._coming = 0
        self.is_leaving = False
        self.lost = 0

    async def accept(self, connection: socket.socket) -> None:
        """Serve a connection from now on."""
        self._coming += 1
        loop = asyncio.get_running_loop()
        protocols: list[Any] = []

        def factory() -> asyncio.Protocol:
            protocols.append(self._protocol())
            return protocols[0]  # type: ignore[no-any-return]

        try:
            await loop.connect_accepted_socket(factory, connection)
        except OSError:
            connection.close()
            self._note_lost()
        else:
            if self.is_leaving and protocols[0].parser is not None:
                _end_politely(protocols[0])
        finally:
            self._coming -= 1

    def let_go(self, count: int) -> None:
        """Have so many connections in all on their way out: each ends after its next answer, or when it was idle for long.

        Busy ones first: they go soonest, and it is their requests that another worker shall answer.
        """
        known = list(self._server.server_state.connections)
        missing = count - sum(_is_leaving(connection) for connection in known)
        staying = sorted((item for item in known if not _is_leaving(item)), key=_is_idle)
        for connection in itertools.islice(staying, max(0, missing)):
            _end_politely(connection)

    async def let_all_go(self, *, limit_s: float) -> None:
        """Let all go; returns when there is none left, or after ``limit_s``."""
        self.is_leaving = True
        for connection in list(self._server.server_state.connections):
            _end_politely(connection)
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + limit_s
        while (self._coming or self._server.server_state.connections) and loop.time() < deadline_s:
            await asyncio.sleep(0.05)

    def _protocol(self) -> Any:
        protocol = self._config.http_protocol_class(  # type: ignore[call-arg]
            config=self._config,
            server_state=self._server.server_state,
            app_state=self._server.lifespan.state,
            _loop=asyncio.get_running_loop(),
        )
        ends = protocol.connection_lost

        def connection_lost(error: Exception | None) -> None:
            ends(error)
            self._note_lost()

        protocol.connection_lost = connection_lost  # type: ignore[method-assign,assignment]
        return protocol

    def _note_lost(self) -> None:
        self.lost += 1
        self._on_lost()


class _LastRequest:
    """A connection's parser that says of every request that its answer is the last one."""

    def __init__(self, parser: Any):
        self._parser = parser

    def should_keep_alive(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)


def _is_leaving(connection: Any) -> bool:
    return isinstance(connection.parser, _LastRequest)


def _is_idle(connection: Any) -> bool:
    return connection.cycle is None or connection.cycle.response_complete


def _end_politely(connection: Any) -> None:
    """``Connection: close`` with the answer under way, or else with the next one; a connection is never cut."""
    if _is_leaving(connection) or connection.parser is None:
        return
    connection.parser = _LastRequest(connection.parser)
    if connection.pipeline:
        # What was sent behind the request under way is answered too: the last of them closes.
        connection.pipeline[0][0].keep_alive = False
    elif not _is_idle(connection):
        connection.cycle.keep_alive = False
