"""One decision for all workers: nobody changes before all have loaded, and what one cannot load is used by none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

from mlops_box_services.workers.colleague import Colleague
from mlops_box_services.workers.messages import Flip, Message, Prepare, Prepared
from mlops_box_services.workers.routing import POLL_EVERY_S, RETRY_EVERY_S, Routing

from mlops_box.db import Database
from mlops_box.errors import StorageError
from mlops_box.serving.wanted import Wanted


class FakeBox:
    """box.db as far as it is asked: a version that changes, and rows."""

    def __init__(self, **champions: int):
        self.version = 1
        self.champions = champions
        self.broken = False

    def promote(self, **champions: int) -> None:
        self.champions = {**self.champions, **champions}
        self.version += 1

    def data_version(self) -> int:
        if self.broken:
            raise StorageError("disk I/O error")
        return self.version

    def read(self, sql: str) -> list[dict[str, Any]]:
        if "FROM aliases" not in sql:
            return []
        return [
            {"model": model, "alias": "champion", "number": number, "digest": ""}
            for model, number in self.champions.items()
        ]


class FakeWorker:
    """A worker that loads when it is let, and serves what it is told."""

    def __init__(self, number: int, journal: list[tuple[int, str]]):
        self.number = number
        self.journal = journal
        self.state = "starting"
        self.problem: str | None = None
        self.refuses: dict[tuple[str, int], str] = {}
        self.retry = False
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.channel = self
        self.serving: dict[str, int] = {}
        self._loaded: dict[int, dict[str, int]] = {}
        self._asked: Prepare | None = None

    def send(self, message: Message) -> None:
        if isinstance(message, Prepare):
            self._asked = message
        elif isinstance(message, Flip):
            loaded = self._loaded.pop(message.generation)
            self.serving = {
                model: self.serving[model] if model in message.held else number
                for model, number in loaded.items()
                if model not in message.held or model in self.serving
            }
            self.journal.append((self.number, "flip"))

    async def prepared(self, generation: int, send: Callable[[], None], timeout_s: float) -> Prepared | None:
        send()
        assert self._asked is not None
        wanted = Wanted.from_dict(self._asked.wanted)
        await self.may_load.wait()
        self.journal.append((self.number, "loaded"))
        if self.state == "gone":
            return None
        self._loaded[generation] = {model: number for model, (number, _) in wanted.champions.items()}
        problems = {
            model: self.refuses[model, number]
            for model, (number, _) in wanted.champions.items()
            if (model, number) in self.refuses
        }
        return Prepared(generation, problems, bool(problems) and self.retry)


class Case:
    """Two workers that serve version 1, and a routing that follows."""

    def __init__(self) -> None:
        self.box = FakeBox(rates=1, mill=1)
        self.journal: list[tuple[int, str]] = []
        self.workers = [FakeWorker(1, self.journal), FakeWorker(2, self.journal)]
        self.killed: list[int] = []
        self.routing = Routing(
            cast(Database, self.box),
            answering=lambda: cast(
                list[Colleague], [worker for worker in self.workers if worker.state in ("warm", "leaving")]
            ),
            give_up=lambda worker, why: self.killed.append(worker.number),
        )

    async def start(self) -> asyncio.Task[None]:
        for worker in self.workers:
            await self.admit(worker)
        self.journal.clear()
        return asyncio.create_task(self.routing.follow())

    async def admit(self, worker: FakeWorker) -> None:
        await self.routing.admit(cast(Colleague, worker))

    async def settled(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)


def run(story: Callable[[Case], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        case = Case()
        following = await case.start()
        try:
            await story(case)
            assert not following.done()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            case.routing.close()

    asyncio.run(whole())


def test_nobody_changes_before_all_have_loaded() -> None:
    async def story(case: Case) -> None:
        one, two = case.workers
        two.may_load.clear()
        case.box.promote(rates=2)
        await case.settled(lambda: (1, "loaded") in case.journal)
        await asyncio.sleep(3 * POLL_EVERY_S)
        assert one.serving["rates"] == two.serving["rates"] == 1
        two.may_load.set()
        await case.settled(lambda: two.serving["rates"] == 2)
        assert one.serving == two.serving == {"rates": 2, "mill": 1}
        assert [what for _, what in case.journal] == ["loaded", "loaded", "flip", "flip"]

    run(story)


def test_what_one_worker_cannot_load_is_used_by_none_and_other_models_change() -> None:
    async def story(case: Case) -> None:
        one, two = case.workers
        two.refuses["rates", 2] = "golden rows"
        case.box.promote(rates=2, mill=5)
        await case.settled(lambda: two.serving["mill"] == 5)
        assert one.serving == two.serving == {"rates": 1, "mill": 5}
        assert case.routing.held == {"rates": "golden rows"}
        case.box.promote(rates=3)
        await case.settled(lambda: one.serving["rates"] == 3)
        assert two.serving["rates"] == 3
        assert case.routing.held == {}

    run(story)


def test_a_newcomer_serves_what_the_others_serve_not_what_is_only_wanted() -> None:
    async def story(case: Case) -> None:
        one, two = case.workers
        one.refuses["rates", 2] = "no memory"
        case.box.promote(rates=2)
        await case.settled(lambda: case.routing.held != {})
        newcomer = FakeWorker(3, case.journal)
        case.workers.append(newcomer)
        await case.admit(newcomer)
        assert newcomer.state == "warm"
        assert newcomer.serving == one.serving == two.serving == {"rates": 1, "mill": 1}
        # The one that could not is replaced by one that can: the change is made up for.
        one.state = "gone"
        successor = FakeWorker(1, case.journal)
        case.workers.append(successor)
        await case.admit(successor)
        await case.settled(lambda: successor.serving["rates"] == 2)
        assert newcomer.serving["rates"] == two.serving["rates"] == 2

    run(story)


def test_a_newcomer_that_cannot_serve_what_the_others_do_stays_out() -> None:
    async def story(case: Case) -> None:
        newcomer = FakeWorker(3, case.journal)
        newcomer.refuses["mill", 1] = "damaged file"
        await case.admit(newcomer)
        assert newcomer.state == "starting"
        assert newcomer.problem == "mill: damaged file"

    run(story)


def test_a_worker_that_dies_while_loading_holds_nobody_up() -> None:
    async def story(case: Case) -> None:
        one, two = case.workers
        two.may_load.clear()
        case.box.promote(rates=2)
        await case.settled(lambda: (1, "loaded") in case.journal)
        two.state = "gone"
        two.may_load.set()
        await case.settled(lambda: one.serving["rates"] == 2)
        assert case.killed == []

    run(story)


def test_a_leaving_worker_changes_too() -> None:
    async def story(case: Case) -> None:
        case.workers[1].state = "leaving"
        case.box.promote(rates=2)
        await case.settled(lambda: case.workers[1].serving["rates"] == 2)

    run(story)


def test_what_may_go_better_soon_is_tried_again() -> None:
    async def story(case: Case) -> None:
        one, two = case.workers
        two.refuses["rates", 2], two.retry = "disk full", True
        case.box.promote(rates=2)
        await case.settled(lambda: case.routing.held != {})
        del two.refuses["rates", 2]
        await asyncio.sleep(RETRY_EVERY_S)
        await case.settled(lambda: two.serving["rates"] == one.serving["rates"] == 2)

    run(story)


def test_a_box_that_cannot_be_read_is_said_until_it_can() -> None:
    async def story(case: Case) -> None:
        case.box.broken = True
        await case.settled(lambda: case.routing.problem == "disk I/O error")
        case.box.promote(rates=2)
        case.box.broken = False
        await case.settled(lambda: case.workers[0].serving["rates"] == 2)
        assert case.routing.problem is None

    run(story)
