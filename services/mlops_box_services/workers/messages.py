"""What the doorkeeper and its workers tell each other, and how it is written: JSON after its length in four bytes."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import Any

import orjson

from mlops_box.errors import IntegrityError

_LENGTH = struct.Struct(">I")
MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Prepare:
    """To a worker: load this beside what serves (``wanted``: :meth:`Wanted.to_dict`)."""

    generation: int
    wanted: dict[str, Any]


@dataclass(frozen=True)
class Prepared:
    """From a worker: done; ``problems`` says which models it could not load, ``retry`` that it may go better soon."""

    generation: int
    problems: dict[str, str]
    retry: bool


@dataclass(frozen=True)
class Flip:
    """To a worker: answer with what was prepared, except for the models in ``held``; the values say why."""

    generation: int
    held: dict[str, str]


@dataclass(frozen=True)
class Shed:
    """To a worker: so many connections in all shall end politely after their next answer."""

    connections: int


@dataclass(frozen=True)
class Leave:
    """To a worker: end all connections politely, then go."""


@dataclass(frozen=True)
class Stop:
    """To a worker: finish the requests under way, then go."""


@dataclass(frozen=True)
class Ask:
    """A question, in both directions: ``snapshot``, ``readiness``; a worker asks for all, the doorkeeper for this one."""

    number: int
    what: str


@dataclass(frozen=True)
class Told:
    """The answer to the question of that number; ``None`` when there is none."""

    number: int
    content: Any


@dataclass(frozen=True)
class Started:
    """From a worker: ready to be told what to serve."""


@dataclass(frozen=True)
class Lost:
    """From a worker: connections that ended, in all."""

    connections: int


@dataclass(frozen=True)
class Report:
    """From a worker, twice a second.

    Attributes:
        cpu: Processors used, 1.0 is one of them.
        demand: Processors used or waited for.
        lag_s: How late the event loop was on average.
    """

    cpu: float
    demand: float
    lag_s: float


@dataclass(frozen=True)
class Leaving:
    """From a worker that was asked to stop by somebody else: no more connections, please."""


@dataclass(frozen=True)
class Bye:
    """From a worker, the last: what it had counted."""

    snapshot: str


Message = (
    Prepare | Prepared | Flip | Shed | Leave | Stop | Ask | Told | Started | Lost | Report | Leaving | Bye
)
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        Prepare, Prepared, Flip, Shed, Leave, Stop, Ask, Told, Started, Lost, Report, Leaving, Bye,
    )
}  # fmt: skip


def encode(message: Message) -> bytes:
    body = orjson.dumps([type(message).__name__, message])
    return _LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Message:
    """Raises :class:`IntegrityError` for what no worker of this version says."""
    try:
        kind, content = orjson.loads(body)
        message: Message = _KINDS[kind](**content)
        return message
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"a message between server processes cannot be read: {error!r}") from error


class Channel:
    """One end of the line between the doorkeeper and a worker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader = reader
        self._writer = writer

    @staticmethod
    async def over(end: socket.socket) -> Channel:
        """Over one end of a pair of stream sockets."""
        return Channel(*await asyncio.open_unix_connection(sock=end))

    def send(self, message: Message) -> None:
        """Never waits; what is told to somebody who has gone is lost."""
        if not self._writer.is_closing():
            self._writer.write(encode(message))

    async def flush(self) -> None:
        """Wait until what was sent is with the system."""
        await self._writer.drain()

    async def receive(self) -> Message | None:
        """The next message; ``None`` when the other side has gone."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            if length > MAX_BYTES:
                raise IntegrityError(f"a message of {length} bytes between server processes")
            return decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def close(self) -> None:
        self._writer.close()
