"""One worker as the doorkeeper sees it."""

from __future__ import annotations

import asyncio
import collections
import itertools
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from mlops_box.serving.metrics_snapshot import MetricsSnapshot
from mlops_box_services.workers.messages import Ask, Channel, Prepared, Report
from mlops_box_services.workers.passing import give, taken

# starting: not yet told what to serve. warm: gets connections. leaving: finishes what it has. gone: its process has ended.
State = Literal["starting", "warm", "leaving", "gone"]


@dataclass(frozen=True)
class Life:
    """A worker's process, and when it started (monotonic)."""

    process: subprocess.Popen[bytes]
    started_s: float


class Colleague:
    """A worker process.

    Attributes:
        number: Its place; a successor has the same.
        given: Connections handed to it.
        lost: Those of them that ended.
        report: Its last report.
        heard_s: When it last said anything (monotonic).
        counted: What it had counted when last asked.
        problem: Why it gets no connections.
    """

    def __init__(self, number: int, life: Life, channel: Channel, door: socket.socket):
        self.number = number
        self.life = life
        self.state: State = "starting"
        self.given = 0
        self.lost = 0
        self.report: Report | None = None
        self.heard_s = life.started_s
        self.counted = MetricsSnapshot()
        self.problem: str | None = None
        self.channel = channel
        self._door = door
        self._untaken: collections.deque[socket.socket] = collections.deque()
        asyncio.get_running_loop().add_reader(door, self._note_taken)
        self._questions: dict[int, asyncio.Future[Any]] = {}
        self._preparing: dict[int, asyncio.Future[Prepared | None]] = {}
        self._numbers = itertools.count()

    @property
    def pid(self) -> int:
        return self.life.process.pid

    @property
    def open(self) -> int:
        """Connections it has now, as far as is known."""
        return max(0, self.given - self.lost)

    def hand(self, connection: socket.socket) -> bool:
        """Hand a connection over for good; ``False`` when it takes none."""
        if self.state == "gone" or not give(self._door, connection):
            return False
        self.given += 1
        self._untaken.append(connection)
        return True

    def _note_taken(self) -> None:
        count = taken(self._door)
        if count is None:
            asyncio.get_running_loop().remove_reader(self._door)
        for _ in range(count or 0):
            self._untaken.popleft().close()

    async def ask(self, what: str, timeout_s: float) -> Any:
        """Its answer; ``None`` when it gives none in time."""
        if self.state == "gone":
            return None
        number = next(self._numbers)
        return await self._wait(
            self._questions, number, lambda: self.channel.send(Ask(number, what)), timeout_s
        )

    async def prepared(self, generation: int, send: Callable[[], None], timeout_s: float) -> Prepared | None:
        """What it says after having been told to prepare a generation."""
        if self.state == "gone":
            return None
        found: Prepared | None = await self._wait(self._preparing, generation, send, timeout_s)
        return found

    async def _wait(
        self, waiting: dict[int, asyncio.Future[Any]], key: int, send: Callable[[], None], timeout_s: float
    ) -> Any:
        waiting[key] = asyncio.get_running_loop().create_future()
        send()
        try:
            return await asyncio.wait_for(waiting[key], timeout_s)
        except TimeoutError:
            return None
        finally:
            del waiting[key]

    def told(self, number: int, content: Any) -> None:
        _resolve(self._questions.get(number), content)

    def has_prepared(self, message: Prepared) -> None:
        _resolve(self._preparing.get(message.generation), message)

    def end(self) -> list[socket.socket]:
        """Its process has ended: nobody waits for it any longer. Returns the connections that it had not yet taken."""
        self.state = "gone"
        self.channel.close()
        self._note_taken()
        asyncio.get_running_loop().remove_reader(self._door)
        self._door.close()
        for waiting in (*self._questions.values(), *self._preparing.values()):
            _resolve(waiting, None)
        rescued = list(self._untaken)
        self._untaken.clear()
        return rescued


def _resolve(future: asyncio.Future[Any] | None, content: Any) -> None:
    if future is not None and not future.done():
        future.set_result(content)
