"""The one place that decides which versions answer: all workers load, then all change.

Between the first and the last worker that changes lies the delivery of one message, not the loading of a model. A
version that one worker cannot load is used by none: a client never gets another version for having reconnected.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from mlops_box.db import Database
from mlops_box.errors import BoxError
from mlops_box.serving.wanted import Wanted, read_wanted
from mlops_box_services.workers.colleague import Colleague
from mlops_box_services.workers.messages import Flip, Prepare, Prepared

log = logging.getLogger(__name__)

POLL_EVERY_S = 0.1
RETRY_EVERY_S = 1.0
# A worker that has not loaded its models by then hangs.
PREPARE_LIMIT_S = 120.0


class Routing:
    """Follows box.db for all workers.

    Args:
        db: Read in a thread of its own.
        answering: The workers that have connections or get some.
        give_up: Ends a worker that does not do what it is told.

    Attributes:
        problem: Why promotions are not seen, if they are not.
        held: Models that could not be changed, and why.
    """

    def __init__(
        self,
        db: Database,
        *,
        answering: Callable[[], Sequence[Colleague]],
        give_up: Callable[[Colleague, str], None],
    ):
        self._db = db
        self._answering = answering
        self._give_up = give_up
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="box-db")
        self._generations = itertools.count(1)
        self._changing = asyncio.Lock()
        self._seen: int | None = None
        self._wanted: Wanted | None = None
        self._serving = Wanted()
        self._again_s: float | None = None
        self.problem: str | None = None
        self.held: dict[str, str] = {}

    async def follow(self) -> None:
        """Watch for promotions for ever."""
        while True:
            await asyncio.sleep(POLL_EVERY_S)
            async with self._changing:
                due = self._again_s is not None and asyncio.get_running_loop().time() >= self._again_s
                wanted = await self._look(force=due)
                if wanted is not None and (due or wanted != self._wanted) and self._answering():
                    await self._change(self._answering(), wanted)

    async def admit(self, newcomer: Colleague) -> None:
        """Have a worker serve exactly what the others do; it is warm then, or has a :attr:`Colleague.problem`."""
        async with self._changing:
            others = self._answering()
            done = await (self._join(newcomer) if others else self._be_first(newcomer))
            # Under the lock: the next change, and the next newcomer, must know of it.
            if done and newcomer.state == "starting":
                newcomer.state, newcomer.problem = "warm", None

    async def _be_first(self, newcomer: Colleague) -> bool:
        wanted = await self._look(force=True)
        if wanted is None:
            newcomer.problem = self.problem
            return False
        return await self._change([newcomer], wanted)

    async def _join(self, newcomer: Colleague) -> bool:
        prepared = await self._prepare(newcomer, self._serving)
        if prepared is None or prepared.problems:
            newcomer.problem = _first(prepared) or "it did not load what the others serve"
            return False
        newcomer.channel.send(Flip(prepared.generation, {}))
        if self.held and self._wanted is not None:
            again = await self._prepare(newcomer, self._wanted)
            if again is None:
                return False
            newcomer.channel.send(Flip(again.generation, self.held))
            # Perhaps it was the predecessor that could not load what is wanted.
            self._again_s = asyncio.get_running_loop().time()
        return True

    def close(self) -> None:
        self._reading.shutdown(cancel_futures=True)

    async def _look(self, *, force: bool) -> Wanted | None:
        """What box.db wants, if it may have changed."""
        loop = asyncio.get_running_loop()
        try:
            # data_version counts what others than this very connection committed: always the same thread.
            version = await loop.run_in_executor(self._reading, self._db.data_version)
            if version == self._seen and not force:
                return None
            wanted = await loop.run_in_executor(self._reading, read_wanted, self._db)
        except BoxError as error:
            if self.problem != error.message:
                log.error("cannot follow box.db: %s", error.message)
            self.problem = error.message
            return None
        except Exception as error:
            # The task's boundary: without it promotions would stop being seen, silently.
            log.exception("cannot follow box.db")
            self.problem = repr(error)
            return None
        self._seen, self.problem = version, None
        return wanted

    async def _change(self, workers: Sequence[Colleague], wanted: Wanted) -> bool:
        generation = next(self._generations)
        answers = await asyncio.gather(*(self._prepare(worker, wanted, generation) for worker in workers))
        ready = [(w, a) for w, a in zip(workers, answers, strict=True) if a is not None and w.state != "gone"]
        if not ready:
            return False
        told, self.held = self.held, _held(ready)
        # One after the other without a pause: what lies between them is the way of a message.
        for worker, _ in ready:
            worker.channel.send(Flip(generation, self.held))
        before = self._serving.champions
        self._wanted = wanted
        self._serving = replace(
            wanted,
            champions={
                model: before[model] if model in self.held else target
                for model, target in wanted.champions.items()
                if model not in self.held or model in before
            },
            challengers={
                model: challenger
                for model, challenger in wanted.challengers.items()
                if model not in self.held
            },
        )
        for model, problem in self.held.items():
            if told.get(model) != problem:
                log.error("%s@%d is refused: %s", model, wanted.champions[model][0], problem)
        retry = any(answer.retry for _, answer in ready)
        self._again_s = asyncio.get_running_loop().time() + RETRY_EVERY_S if retry else None
        return True

    async def _prepare(
        self, worker: Colleague, wanted: Wanted, generation: int | None = None
    ) -> Prepared | None:
        number = next(self._generations) if generation is None else generation
        message = Prepare(number, wanted.to_dict())
        answer = await worker.prepared(number, lambda: worker.channel.send(message), PREPARE_LIMIT_S)
        if answer is None and worker.state != "gone":
            self._give_up(worker, f"did not load its models in {PREPARE_LIMIT_S:.0f} s")
        return answer


def _held(ready: Iterable[tuple[Colleague, Prepared]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for _, answer in ready:
        for model, problem in answer.problems.items():
            found.setdefault(model, problem)
    return found


def _first(prepared: Prepared | None) -> str | None:
    if prepared is None:
        return None
    return next((f"{model}: {problem}" for model, problem in prepared.problems.items()), None)
