"""Whatever the arrival pattern, everybody gets the own answer, batches keep to the cap, nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_box.serving.batcher import Batcher
from mlops_box.serving.problems import Overloaded


@dataclass(frozen=True)
class Request:
    """A request, how long after it the next one comes (turns of the loop), and whether its caller leaves."""

    number: int
    rows: int
    fate: str
    turns: int
    leaves: bool


@st.composite
def arrivals(draw: st.DrawFn) -> list[Request]:
    fates = st.sampled_from(["good", "good", "good", "bad", "short"])
    drawn = draw(
        st.lists(
            st.tuples(st.integers(1, 6), fates, st.integers(0, 3), st.booleans()), min_size=1, max_size=40
        )
    )
    return [
        Request(number, rows, fate, turns, leaves and draw(st.booleans()))
        for number, (rows, fate, turns, leaves) in enumerate(drawn)
    ]


class Model:
    """Answers by number, fails on a bad request, and gives too few answers where a short one is among others."""

    def __init__(self) -> None:
        self.batches: list[list[Request]] = []
        self.running = 0

    def run(self, items: Sequence[Request]) -> list[int]:
        self.running += 1
        assert self.running == 1, "one batch at a time"
        self.batches.append(list(items))
        try:
            if any(item.fate == "bad" for item in items):
                raise ValueError("bad")
            short = len(items) > 1 and any(item.fate == "short" for item in items)
            return [item.number for item in items][: -1 if short else None]
        finally:
            self.running -= 1


@settings(max_examples=120, deadline=None)
@given(requests=arrivals(), cap=st.integers(1, 12), limit=st.integers(1, 40), slow_rows=st.integers(1, 20))
def test_any_arrival_pattern(requests: list[Request], cap: int, limit: int, slow_rows: int) -> None:
    model = Model()

    async def drive() -> tuple[list[int | BaseException], int]:
        batcher: Batcher[Request, int, int] = Batcher(
            model.run, lambda items, results: list(results), size_of=lambda item: item.rows, max_batch=cap,
            max_queued=limit, is_slow=lambda rows: rows >= slow_rows,
        )  # fmt: skip
        tasks = []
        for request in requests:
            tasks.append(asyncio.create_task(batcher.submit(request)))
            for _ in range(request.turns):
                await asyncio.sleep(0)
            if request.leaves:
                tasks[-1].cancel()
            assert batcher.queued <= limit, "never over the cap"
        answers = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
        return list(answers), batcher.queued

    answers, left = asyncio.run(drive())
    assert left == 0
    for request, answer in zip(requests, answers, strict=True):
        if isinstance(answer, Overloaded):
            continue
        if isinstance(answer, asyncio.CancelledError):
            assert request.leaves
        elif request.fate == "bad":
            assert isinstance(answer, ValueError)
        else:
            assert answer == request.number, "a neighbour's fault is not one's own"
    for batch in model.batches:
        assert sum(item.rows for item in batch) <= cap or len(batch) == 1
    computed = [item.number for batch in model.batches for item in batch]
    answered = [answer for answer in answers if isinstance(answer, int)]
    assert set(answered) <= set(computed)


@settings(max_examples=60, deadline=None)
@given(waiting=st.lists(st.integers(1, 5), max_size=12), size=st.integers(1, 50), limit=st.integers(1, 30))
def test_a_request_is_shed_exactly_when_it_would_exceed_the_cap(
    waiting: list[int], size: int, limit: int
) -> None:
    async def drive() -> None:
        batcher: Batcher[int, int, int] = Batcher(
            list, lambda items, results: list(results), size_of=lambda item: item, max_batch=1, max_queued=limit,
            is_slow=lambda rows: False,
        )  # fmt: skip
        tasks = []
        expected = 0
        for item in [*waiting, size]:
            fits = expected + item <= limit
            tasks.append((fits, asyncio.ensure_future(batcher.submit(item))))
            expected += item if fits else 0
        # All of them arrive in the same turn of the loop, before anything is computed.
        await asyncio.sleep(0)
        for fits, task in tasks:
            if fits:
                assert not task.done() or task.exception() is None
            else:
                assert isinstance(task.exception(), Overloaded)
        await asyncio.gather(*(task for _, task in tasks), return_exceptions=True)
        assert batcher.queued == 0

    asyncio.run(drive())


@settings(max_examples=30, deadline=None)
@given(burst=st.integers(1, 60), cap=st.integers(1, 8))
def test_after_any_burst_a_lone_request_is_computed_in_the_next_turn(burst: int, cap: int) -> None:
    model = Model()

    async def drive() -> None:
        batcher: Batcher[Request, int, int] = Batcher(
            model.run, lambda items, results: list(results), size_of=lambda item: item.rows, max_batch=cap,
            max_queued=1000, is_slow=lambda rows: False,
        )  # fmt: skip
        crowd = [Request(number, 1, "good", 0, False) for number in range(burst)]
        await asyncio.gather(*(batcher.submit(item) for item in crowd))
        model.batches.clear()
        alone = asyncio.ensure_future(batcher.submit(Request(1000, 1, "good", 0, False)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [[item.number for item in batch] for batch in model.batches] == [[1000]]
        assert await alone == 1000

    asyncio.run(drive())
