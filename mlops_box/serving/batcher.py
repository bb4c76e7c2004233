"""The natural batcher: one batch at a time, and what queued meanwhile is the next one.

No timers and no estimate of waiting times, hence nothing to tune and nothing to remember: an idle model answers at
once, a busy one gets larger batches by itself. The estimators of other batchers count queueing as arrival time and
then wait after every burst.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from mlops_box.errors import BoxError, IntegrityError
from mlops_box.serving.problems import Overloaded

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
Answer = TypeVar("Answer")


class Ticket(asyncio.Future[Answer]):
    """The answer to come.

    Attributes:
        wake: Called at once when the answer is there; whoever sets it saves the event loop's detour.
    """

    wake: Callable[[], None] | None = None


class Batcher(Generic[Item, Result, Answer]):
    """Groups the items that wait into one call. Use from one event loop.

    The call is made when the loop has handed over everything that had already arrived, so that requests which came
    together are computed and logged together.

    Args:
        run: Computes one result an item; called in the loop, or in the batcher's one thread when slow. When it raises, or
            gives another number of results, the items are run one by one, so that only the guilty one fails.
        finish: Called in the loop with the items that have results; gives one answer an item. When it raises, all
            of them fail.
        size_of: Rows in an item.
        max_batch: Rows in one call; a larger single item is still one call.
        max_queued: Rows that may wait; an item that would make it more is refused.
        is_slow: Whether a call with that many rows would hold the loop for too long.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        finish: Callable[[Sequence[Item], Sequence[Result]], Sequence[Answer]],
        *,
        size_of: Callable[[Item], int],
        max_batch: int,
        max_queued: int,
        is_slow: Callable[[int], bool],
    ):
        self._run = run
        self._finish = finish
        self._size_of = size_of
        self._max_batch = max_batch
        self._max_queued = max_queued
        self._is_slow = is_slow
        self._queue: deque[tuple[Item, int, Ticket[Answer]]] = deque()
        self._queued = 0
        self._busy = False
        self._thread: ThreadPoolExecutor | None = None

    @property
    def queued(self) -> int:
        """Rows that wait."""
        return self._queued

    async def submit(self, item: Item) -> Answer:
        """The item's answer.

        Raises:
            Overloaded: The queue is full; nothing was computed.
        """
        size = self._size_of(item)
        if self._queued + size > self._max_queued:
            raise Overloaded(
                f"{self._queued} rows are waiting already, and no more than {self._max_queued} may",
                hint="try again in a second, or send less at a time",
            )
        loop = asyncio.get_running_loop()
        ticket: Ticket[Answer] = Ticket(loop=loop)
        self._queue.append((item, size, ticket))
        self._queued += size
        if not self._busy:
            self._busy = True
            loop.call_soon(self._next, loop)
        return await ticket

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        items, tickets, size = self._take()
        if not items:
            self._busy = False
            return
        if self._is_slow(size):
            if self._thread is None:
                self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
            work = loop.run_in_executor(self._thread, self._compute, items)
            work.add_done_callback(lambda done: self._deliver(loop, items, tickets, done.result()))
        else:
            self._deliver(loop, items, tickets, self._compute(items))

    def _take(self) -> tuple[list[Item], list[Ticket[Answer]], int]:
        """The next batch, without the items whose caller has gone."""
        items: list[Item] = []
        tickets: list[Ticket[Answer]] = []
        total = 0
        while self._queue and (not items or total + self._queue[0][1] <= self._max_batch):
            item, size, ticket = self._queue.popleft()
            self._queued -= size
            if not ticket.done():
                items.append(item)
                tickets.append(ticket)
                total += size
        return items, tickets, total

    def _deliver(
        self,
        loop: asyncio.AbstractEventLoop,
        items: list[Item],
        tickets: list[Ticket[Answer]],
        results: Sequence[Result | Exception],
    ) -> None:
        good = [index for index, result in enumerate(results) if not isinstance(result, Exception)]
        outcomes: list[Answer | Exception] = list(results)  # type: ignore[arg-type]
        if good:
            try:
                answers = self._finish([items[i] for i in good], [results[i] for i in good])  # type: ignore[misc]
                for index, answer in zip(good, answers, strict=True):
                    outcomes[index] = answer
            except Exception as error:  # noqa: BLE001  the boundary: callers get it, the loop goes on
                for index in good:
                    outcomes[index] = error
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            if ticket.done():
                continue
            if isinstance(outcome, Exception):
                ticket.set_exception(outcome)
            else:
                ticket.set_result(outcome)
            if ticket.wake is not None:
                ticket.wake()
        if self._queue:
            loop.call_soon(self._next, loop)
        else:
            self._busy = False

    def _compute(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        try:
            results = self._run(items)
            if len(results) != len(items):
                raise IntegrityError(f"the model gave {len(results)} results for {len(items)} requests")
        except Exception as error:  # the boundary between a model and its callers
            if len(items) == 1:
                if not isinstance(error, BoxError):
                    log.exception("a prediction failed")
                return [error]
            return [self._compute([item])[0] for item in items]
        return results
