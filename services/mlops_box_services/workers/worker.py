"""A worker's side: it serves the connections it is handed and does what the doorkeeper says."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import logging
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import uvloop

from mlops_box.errors import BoxError, ExitCode, UnavailableError
from mlops_box.serving.metrics_snapshot import MetricsSnapshot
from mlops_box.serving.route_table import Prepared as PreparedTable
from mlops_box.serving.wanted import Wanted
from mlops_box_services.options import ServerOptions
from mlops_box_services.runtime import Runtime
from mlops_box_services.server import KEEP_ALIVE_S, Beside, HttpServer, bentoml_in, beside, config_for, opened
from mlops_box_services.workers.connections import Connections
from mlops_box_services.workers.load_meter import LoadMeter
from mlops_box_services.workers.membership import Membership
from mlops_box_services.workers.messages import (
    Ask,
    Bye,
    Channel,
    Flip,
    Leave,
    Leaving,
    Lost,
    Message,
    Prepare,
    Prepared,
    Report,
    Shed,
    Started,
    Stop,
    Told,
)
from mlops_box_services.workers.passing import take

log = logging.getLogger(__name__)

ASK_TIMEOUT_S = 2.0
# Below the doorkeeper's own patience, which is below the supervisor's.
WORKER_GRACE_S = 11
# A connection that sends nothing is closed as idle after a while; that ends the last of them.
LEAVE_LIMIT_S = KEEP_ALIVE_S + 15.0
# Many short connections are told together.
_LOST_EVERY_S = 0.005
_PR_SET_PDEATHSIG = 1


def serve_as_worker(options: ServerOptions, member: Membership) -> None:
    """Serve until the doorkeeper says stop, or is gone."""
    _die_with(member.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the doorkeeper, which says what to do.
    control, door = (socket.socket(fileno=number) for number in (member.control, member.door))
    with bentoml_in(options.home), opened(options, follow=False) as runtime:
        worker = _Worker(runtime, control, door, beside(options, runtime))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(worker.run())


def _die_with(parent: int) -> None:
    """Ask the system to kill this process when its doorkeeper dies: even a busy loop serves no stale version then.

    Elsewhere than on Linux the end of the control line does it, as soon as the loop looks.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(ExitCode.UNAVAILABLE)


class _OnceWarm:
    """A server beside HTTP that listens by itself: the system would send it clients before it knows any model."""

    def __init__(self, inner: Beside):
        self._inner = inner
        self._is_due = True

    async def start(self) -> None:
        """Not yet."""

    async def open(self) -> None:
        """Begin to answer, the first time this is called."""
        if self._is_due:
            self._is_due = False
            await self._inner.start()

    async def stop(self) -> None:
        """Finish what is under way; idempotent."""
        self._is_due = False
        await self._inner.stop()


class _Worker:
    """The event loop's side of a worker; also the :class:`Family` of its runtime."""

    def __init__(
        self, runtime: Runtime, control: socket.socket, door: socket.socket, beside: Beside | None = None
    ):
        self._runtime = runtime
        self._control = control
        self._door = door
        config = config_for(runtime, grace_s=WORKER_GRACE_S)
        self._beside = _OnceWarm(beside) if beside is not None else None
        self._server = HttpServer(
            config, signals=(signal.SIGTERM,), on_stopping=self._stopping, beside=self._beside
        )
        self._connections = Connections(self._server, config, on_lost=self._note_lost)
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._failure: BoxError | None = None
        self._prepared: dict[int, PreparedTable] = {}
        self._questions: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count()
        self._lost_due = False
        self._ends = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = await Channel.over(self._control)
        self._runtime.family = self
        serving = asyncio.create_task(self._server.serve(sockets=[]))
        while not self._server.started:
            if serving.done():
                await serving
                return
            await asyncio.sleep(0.005)
        self._loop.add_reader(self._door, self._take)
        LoadMeter(self._channel_send)
        self._channel.send(Started())
        listening = asyncio.create_task(self._listen())
        await serving
        self._ends = True
        self._channel.send(Bye(self._runtime.snapshot().to_json().decode()))
        with contextlib.suppress(ConnectionError):
            await self._channel.flush()
        listening.cancel()
        if self._failure is not None:
            raise self._failure

    async def snapshot(self) -> MetricsSnapshot:
        return MetricsSnapshot.from_json((await self._ask("snapshot")).encode())

    async def readiness(self) -> dict[str, Any]:
        found: dict[str, Any] = await self._ask("readiness")
        return found

    async def _ask(self, what: str) -> Any:
        number = next(self._numbers)
        self._questions[number] = self._loop.create_future()
        self._channel.send(Ask(number, what))
        try:
            content = await asyncio.wait_for(self._questions[number], ASK_TIMEOUT_S)
        except TimeoutError:
            content = None
        finally:
            del self._questions[number]
        if content is None:
            raise UnavailableError("the other server processes do not answer", hint="try again")
        return content

    def _channel_send(self, report: Report) -> None:
        self._channel.send(report)

    async def _listen(self) -> None:
        while (message := await self._channel.receive()) is not None:
            self._obey(message)
        if not self._ends:
            # The doorkeeper is gone: nobody says any more which version answers. What was answered is on the disk.
            log.critical("stopping at once: the doorkeeper is gone")
            os._exit(ExitCode.UNAVAILABLE)

    def _obey(self, message: Message) -> None:
        match message:
            case Prepare():
                self._begin(self._prepare(message))
            case Flip():
                self._flip(message)
            case Shed(connections):
                self._connections.let_go(connections)
            case Leave():
                self._take()
                self._begin(self._leave())
            case Stop():
                self._take()
                self._server.should_exit = True
            case Ask(number, what):
                self._channel.send(Told(number, self._tell(what)))
            case Told(number, content):
                question = self._questions.get(number)
                if question is not None and not question.done():
                    question.set_result(content)

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _prepare(self, message: Prepare) -> None:
        wanted = Wanted.from_dict(message.wanted)
        try:
            table = await self._loop.run_in_executor(self._loading, self._runtime.router.prepare, wanted)
        except Exception as error:  # the process's boundary: the doorkeeper decides what comes of it
            log.exception("cannot load what is wanted")
            problems = dict.fromkeys(wanted.champions, f"cannot be loaded: {error!r}")
            self._channel.send(Prepared(message.generation, problems, retry=True))
            return
        self._prepared[message.generation] = table
        self._channel.send(Prepared(message.generation, dict(table.problems), table.retry))

    def _flip(self, message: Flip) -> None:
        table = self._prepared.pop(message.generation, None)
        self._prepared.clear()
        if table is None:
            return
        self._runtime.router.flip(table, message.held)
        if self._beside is not None:
            self._begin(self._open_beside(self._beside))
        self._loop.run_in_executor(self._loading, self._settle)

    async def _open_beside(self, beside: _OnceWarm) -> None:
        try:
            await beside.open()
        except BoxError as error:
            self._failure = error
            self._server.should_exit = True

    def _settle(self) -> None:
        # Nothing is frozen here: a slot that is let go later would be kept with what was frozen around it.
        self._runtime.router.settle()
        self._runtime.router.warm_undo()

    def _tell(self, what: str) -> Any:
        if what == "snapshot":
            return self._runtime.snapshot().to_json().decode()
        return orjson.loads(orjson.dumps(self._runtime.readiness(), default=str))

    def _take(self) -> None:
        for connection in take(self._door):
            self._begin(self._connections.accept(connection))

    async def _leave(self) -> None:
        if self._beside is not None:
            await self._beside.stop()
        await self._connections.let_all_go(limit_s=LEAVE_LIMIT_S)
        self._server.should_exit = True

    def _stopping(self) -> None:
        """Asked by a message, or by a signal that the doorkeeper knows nothing of."""
        self._channel.send(Leaving())
        self._connections.is_leaving = True
        self._take()

    def _note_lost(self) -> None:
        if not self._lost_due:
            self._lost_due = True
            self._loop.call_later(_LOST_EVERY_S, self._tell_lost)

    def _tell_lost(self) -> None:
        self._lost_due = False
        self._channel.send(Lost(self._connections.lost))
