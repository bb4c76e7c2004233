"""The worker processes: started, watched, started again when they die, and ended."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

from mlops_box.errors import ExitCode, IntegrityError
from mlops_box.home import Home
from mlops_box.operations.supervisor.backoff import Backoff
from mlops_box_services.workers.colleague import Colleague, Life
from mlops_box_services.workers.membership import Membership
from mlops_box_services.workers.messages import (
    Ask,
    Bye,
    Channel,
    Leave,
    Leaving,
    Lost,
    Message,
    Prepared,
    Report,
    Started,
    Stop,
    Told,
)
from mlops_box_services.workers.passing import pair

log = logging.getLogger(__name__)

START_LIMIT_S = 120.0
# Longer than any call of a model should hold an event loop: the supervisor's own patience with a server.
SILENT_LIMIT_S = 45.0
START_DEATHS = 3
_PAUSED_S = 5.0
_HOPELESS = (ExitCode.USAGE, ExitCode.BUSY, ExitCode.STORAGE, ExitCode.INTEGRITY)


class Staff:
    """All workers.

    Args:
        arguments: The command line of the server; a worker gets the same.
        on_started: Told of a worker that waits to be told what to serve.
        on_ask: Answers what a worker asks about all.
        on_end: Told of a worker that ended, of its last counts, and whether nobody had asked it to.
        on_rescued: Gets the connections that an ended worker had not yet taken.
        on_hopeless: Told of the exit status when no worker ever came up.

    Attributes:
        wanted: How many there should be.
    """

    def __init__(
        self,
        home: Home,
        arguments: Sequence[str],
        *,
        on_started: Callable[[Colleague], None],
        on_ask: Callable[[Colleague, Ask], None],
        on_end: Callable[[Colleague, str | None, bool], None],
        on_rescued: Callable[[list[socket.socket]], None],
        on_hopeless: Callable[[int], None],
    ):
        self._home = home
        self._arguments = tuple(arguments)
        self._on_started = on_started
        self._on_ask = on_ask
        self._on_end = on_end
        self._on_rescued = on_rescued
        self._on_hopeless = on_hopeless
        self._backoffs: dict[int, Backoff] = {}
        self._due_s: dict[int, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._was_warm = False
        self._stopping = False
        self._tended_s: float | None = None
        self.all: list[Colleague] = []
        self.wanted = 0

    def warm(self) -> list[Colleague]:
        """Those that get connections."""
        return [worker for worker in self.all if worker.state == "warm"]

    def answering(self) -> list[Colleague]:
        """Those that have connections or get some."""
        return [worker for worker in self.all if worker.state in ("warm", "leaving")]

    async def tend(self, now_s: float) -> None:
        """Start who is missing and due, let go who is too many, end who hangs. Call it often."""
        if self._tended_s is not None and now_s - self._tended_s > _PAUSED_S:
            # It was this process that did not run: stopped, or the machine slept. Nobody was silent.
            for worker in self.all:
                worker.heard_s = now_s
        self._tended_s = now_s
        self._was_warm = self._was_warm or bool(self.warm())
        staying = [worker for worker in self.all if worker.state in ("starting", "warm")]
        for number in range(1, self.wanted + 1):
            taken = any(worker.number == number for worker in staying)
            if not taken and self._due_s.get(number, 0.0) <= now_s and not self._stopping:
                await self._start(number, now_s)
        for worker in staying:
            if worker.number > self.wanted:
                self.let_go(worker)
        for worker in self.all:
            silent_s = now_s - worker.heard_s
            if worker.state in ("warm", "leaving") and silent_s > SILENT_LIMIT_S:
                self.kill(worker, f"said nothing for {silent_s:.0f} s")
            elif worker.state == "starting" and now_s - worker.life.started_s > START_LIMIT_S:
                self.kill(worker, f"was not warm in {START_LIMIT_S:.0f} s")

    def let_go(self, worker: Colleague) -> None:
        """No more connections; it ends when its clients have been told to reconnect."""
        worker.state = "leaving"
        worker.channel.send(Leave())
        log.info("worker %d leaves, with %d connections", worker.number, worker.open)

    def kill(self, worker: Colleague, why: str) -> None:
        log.error("worker %d (process %d) %s: killing it", worker.number, worker.pid, why)
        worker.life.process.kill()

    async def stop(self, grace_s: float) -> None:
        """Ask all to finish what is under way; returns when their processes have ended."""
        self._stopping = True
        for worker in self.all:
            worker.channel.send(Stop())
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for worker in self.all:
            self.kill(worker, "did not stop")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)

    async def _start(self, number: int, now_s: float) -> None:
        ours, control = pair()
        door, door_of_worker = pair()
        ends = (control, door_of_worker)
        member = Membership(number, control.fileno(), door_of_worker.fileno(), os.getpid())
        command = [
            sys.executable, "-m", "mlops_box_services", *self._arguments, "--member", member.to_text(),
        ]  # fmt: skip
        # From the main thread: the worker asks to be killed when the thread that started it ends.
        process = subprocess.Popen(command, pass_fds=[end.fileno() for end in ends], stdin=subprocess.DEVNULL)
        for end in ends:
            end.close()
        worker = Colleague(number, Life(process, now_s), await Channel.over(ours), door)
        self.all.append(worker)
        task = asyncio.create_task(self._live(worker))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        log.info("worker %d started, process %d", number, process.pid)

    async def _live(self, worker: Colleague) -> None:
        """Listen to a worker until its process has ended."""
        loop = asyncio.get_running_loop()
        last: str | None = None
        try:
            while (message := await worker.channel.receive()) is not None:
                worker.heard_s = loop.time()
                if isinstance(message, Bye):
                    last = message.snapshot
                else:
                    self._hear(worker, message)
        except IntegrityError as error:
            self.kill(worker, error.message)
        status = await asyncio.to_thread(worker.life.process.wait)
        self._ended(worker, status, last, loop.time())

    def _hear(self, worker: Colleague, message: Message) -> None:
        match message:
            case Report():
                worker.report = message
            case Lost(connections):
                worker.lost = connections
            case Prepared():
                worker.has_prepared(message)
            case Told(number, content):
                worker.told(number, content)
            case Ask():
                self._on_ask(worker, message)
            case Started():
                self._on_started(worker)
            case Leaving():
                worker.state = "leaving"

    def _ended(self, worker: Colleague, status: int, last: str | None, now_s: float) -> None:
        was = worker.state
        open_ = worker.open
        self.all.remove(worker)
        self._on_rescued(worker.end())
        shutil.rmtree(self._home.run / f"prometheus-{worker.pid}", ignore_errors=True)
        asked = was == "leaving" or self._stopping
        self._on_end(worker, last, not asked)
        if asked:
            log.info("worker %d (process %d) ended, status %d", worker.number, worker.pid, status)
            return
        backoff = self._backoffs.setdefault(worker.number, Backoff())
        delay_s = backoff.after_death(lived_s=now_s - worker.life.started_s)
        self._due_s[worker.number] = now_s + delay_s
        log.error(
            "worker %d (process %d) ended, status %d, with %d connections; the next one in %.1f s",
            worker.number, worker.pid, status, open_, delay_s,
        )  # fmt: skip
        if not self._was_warm and (backoff.deaths >= START_DEATHS or status in _HOPELESS):
            self._on_hopeless(status)
