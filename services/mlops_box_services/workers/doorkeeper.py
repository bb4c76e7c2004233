"""The doorkeeper: holds the address, spreads connections over workers, decides how many there are and what they serve."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import logging
import signal
import socket
import sys
from collections.abc import Sequence

from mlops_box.box import Box
from mlops_box.home import Home
from mlops_box.serving.address import ServerAddress
from mlops_box.serving.worker_bounds import WorkerBounds, usable_cores
from mlops_box_services.workers.balance import is_skewed, next_worker, to_shed
from mlops_box_services.workers.colleague import Colleague
from mlops_box_services.workers.messages import Ask, Shed, Told
from mlops_box_services.workers.routing import Routing
from mlops_box_services.workers.scaling import Moment, Policy, decide
from mlops_box_services.workers.staff import Staff
from mlops_box_services.workers.totals import Totals

log = logging.getLogger(__name__)

# Below the supervisor's patience of 15 s, above the workers' own.
GRACE_S = 13.0
TICK_S = 0.1
SCALE_EVERY_S = 0.5
COUNT_EVERY_S = 2.0
BALANCE_EVERY_S = 5.0
# A worker that has been silent for so long gets a connection only when all others are, too.
QUIET_S = 2.0
_MOST_AT_ONCE = 64


def keep_door(
    home: Home,
    address: ServerAddress,
    listener: socket.socket,
    bounds: WorkerBounds,
    *,
    arguments: Sequence[str],
    calm_s: float,
) -> None:
    """Serve with workers until SIGTERM; leaves with a worker's exit status when none comes up."""
    with contextlib.closing(listener), Box.open(home, actor="server") as box:
        policy = Policy(bounds.least, bounds.most, cores=usable_cores(), calm_s=calm_s)
        doorkeeper = Doorkeeper(box, address, listener, policy, arguments=arguments)
        status = asyncio.run(doorkeeper.run())
    if status:
        sys.exit(status)


class Doorkeeper:
    """See the package for why it exists.

    Args:
        box: The box that is served.
        address: Published once a worker answers.
        listener: Listens already.
        policy: How many workers there may be.
        arguments: The command line of the server.
    """

    def __init__(
        self,
        box: Box,
        address: ServerAddress,
        listener: socket.socket,
        policy: Policy,
        *,
        arguments: Sequence[str],
    ):
        self._box = box
        self._address = address
        self._listener = listener
        self._policy = policy
        self._totals = Totals()
        self._staff = Staff(
            box.home, [*arguments, "--port", str(address.port)],
            on_started=lambda worker: self._begin(self._admit(worker)),
            on_ask=lambda worker, ask: self._begin(self._answer(worker, ask)),
            on_end=lambda worker, last, died: self._totals.keep(worker, last, died=died),
            on_rescued=self._again,
            on_hopeless=self._give_up,
        )  # fmt: skip
        self._staff.wanted = policy.least
        self._routing = Routing(
            box.db, answering=self._staff.answering, give_up=lambda worker, why: self._staff.kill(worker, why)
        )
        self._moments: collections.deque[Moment] = collections.deque(maxlen=4096)
        self._given = itertools.count()
        self._last_given: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: list[socket.socket] = []
        self._is_open = False
        self._was_open = False
        self._status = 0

    async def run(self) -> int:
        """Serve until asked to stop; the exit status."""
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        self._listener.setblocking(False)
        for work in (self._tend(), self._routing.follow(), self._scale(), self._count(), self._balance()):
            self._begin(work)
        await self._stop.wait()
        await self._end()
        return self._status

    def _begin(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None and not self._stop.is_set():
            # Half a doorkeeper is worse than none: the supervisor starts the family again.
            log.critical("stopping: the doorkeeper failed", exc_info=task.exception())
            self._give_up(1)

    def _give_up(self, status: int) -> None:
        self._status = status if 0 < status < 256 else 1
        self._stop.set()

    async def _end(self) -> None:
        self._address.remove(self._box.home.run)
        self._let_in()
        self._close_door()
        self._listener.close()
        tending = [task for task in self._tasks if not task.done()]
        await self._staff.stop(GRACE_S)
        for task in tending:
            task.cancel()
        await asyncio.gather(*tending, return_exceptions=True)
        self._routing.close()
        for connection in self._waiting:
            connection.close()

    async def _tend(self) -> None:
        while not self._stop.is_set():
            await self._staff.tend(self._loop.time())
            if not self._staff.warm():
                self._close_door()
            elif self._waiting:
                waiting, self._waiting = self._waiting, []
                self._again(waiting)
            await asyncio.sleep(TICK_S)

    async def _admit(self, worker: Colleague) -> None:
        await self._routing.admit(worker)
        if worker.state != "warm":
            if worker.state == "starting":
                self._staff.kill(worker, f"cannot serve: {worker.problem}")
            return
        log.info("worker %d is warm", worker.number)
        self._open_door()
        self._move_connections()

    def _open_door(self) -> None:
        if self._stop.is_set() or self._is_open:
            return
        self._is_open = True
        self._loop.add_reader(self._listener, self._let_in)
        if not self._was_open:
            self._was_open = True
            self._address.write(self._box.home.run)
            log.info("serving at %s", self._address.url)

    def _close_door(self) -> None:
        """Nobody is there to serve: who comes now waits in the system's queue."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._listener)

    def _let_in(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            if not self._staff.warm():
                return
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                # Out of descriptors or memory: they come back when connections end.
                log.error("cannot accept connections: %s", error)
                self._close_door()
                self._loop.call_later(0.2, self._open_door)
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._hand(connection)

    def _hand(self, connection: socket.socket) -> None:
        now_s = self._loop.time()
        warm = {worker.number: worker for worker in self._staff.warm()}
        while warm:
            lively = {n: w.open for n, w in warm.items() if now_s - w.heard_s < QUIET_S}
            number = next_worker(lively or {n: w.open for n, w in warm.items()}, self._last_given)
            if warm[number].hand(connection):
                self._last_given[number] = next(self._given)
                return
            del warm[number]
        self._waiting.append(connection)

    def _again(self, connections: Sequence[socket.socket]) -> None:
        """Connections whose worker died before it looked at them; nothing was read from them."""
        for connection in connections:
            self._hand(connection)

    def _move_connections(self) -> None:
        """Have some connections end politely: their clients come again and are spread over all."""
        warm = {worker.number: worker for worker in self._staff.warm()}
        for number, count in to_shed({n: worker.open for n, worker in warm.items()}).items():
            warm[number].channel.send(Shed(count))

    async def _balance(self) -> None:
        while True:
            await asyncio.sleep(BALANCE_EVERY_S)
            if is_skewed({worker.number: worker.open for worker in self._staff.warm()}):
                self._move_connections()

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(COUNT_EVERY_S)
            await self._totals.refresh(self._staff.answering())

    async def _scale(self) -> None:
        while True:
            await asyncio.sleep(SCALE_EVERY_S)
            warm, now_s = self._staff.warm(), self._loop.time()
            if len(warm) != self._staff.wanted:
                continue
            self._moments.append(Moment(now_s, tuple(w.report for w in warm if w.report is not None)))
            target = decide(self._policy, self._moments, len(warm), now_s)
            if target != self._staff.wanted:
                log.info("%d workers instead of %d: %s", target, len(warm), _summary(warm))
                self._staff.wanted = target
                self._moments.clear()

    async def _answer(self, worker: Colleague, ask: Ask) -> None:
        content: object = None
        workers = tuple(self._staff.all)
        try:
            if ask.what == "snapshot":
                content = (await self._totals.snapshot(workers, self._loop.time())).to_json().decode()
            elif ask.what == "readiness":
                content = await self._totals.readiness(
                    workers, least=self._policy.least, problem=self._routing.problem
                )
        except Exception:  # the boundary: who asked gets an error, the door stays open
            log.exception("cannot answer for all workers")
        worker.channel.send(Told(ask.number, content))


def _summary(workers: Sequence[Colleague]) -> str:
    return ", ".join(
        f"worker {w.number} needs {w.report.demand:.2f} processors, late by {w.report.lag_s * 1000:.0f} ms"
        for w in workers
        if w.report is not None
    )
