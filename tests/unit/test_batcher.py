"""The natural batcher: idle answers at once, busy collects, one bad item fails alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from mlops_box.serving.batcher import Batcher
from mlops_box.serving.problems import Overloaded


class Recorder:
    """A model that doubles, remembers its batches, and can be held back."""

    def __init__(self, *, bad: frozenset[int] = frozenset(), short: bool = False):
        self.batches: list[list[int]] = []
        self.bad = bad
        self.short = short
        self.gate = threading.Event()
        self.gate.set()

    def run(self, items: Sequence[int]) -> list[int]:
        assert self.gate.wait(10)
        self.batches.append(list(items))
        if self.bad & set(items):
            raise ValueError("cannot compute")
        results = [item * 2 for item in items]
        return results[:-1] if self.short and len(items) > 1 else results


def make(model: Recorder, **options: Any) -> Batcher[int, int, int]:
    defaults: dict[str, Any] = {
        "size_of": lambda item: 1, "max_batch": 4, "max_queued": 100, "is_slow": lambda rows: False,
    }  # fmt: skip
    return Batcher(model.run, lambda items, results: list(results), **(defaults | options))


async def test_what_arrives_together_is_one_batch_up_to_the_cap() -> None:
    model = Recorder()
    batcher = make(model)
    assert await asyncio.gather(*[batcher.submit(n) for n in range(10)]) == [2 * n for n in range(10)]
    assert [len(batch) for batch in model.batches] == [4, 4, 2]


async def test_a_lone_request_is_computed_in_the_next_turn_of_the_loop() -> None:
    model = Recorder()
    batcher = make(model)
    answer = asyncio.create_task(batcher.submit(3))
    await asyncio.sleep(0)  # the request arrives
    await asyncio.sleep(0)  # and is computed
    assert model.batches == [[3]]
    assert await answer == 6


async def test_what_queues_while_a_slow_batch_runs_is_the_next_batch() -> None:
    model = Recorder()
    model.gate.clear()
    batcher = make(model, max_batch=50, is_slow=lambda rows: True)
    first = asyncio.create_task(batcher.submit(0))
    await asyncio.sleep(0.02)
    later = [asyncio.create_task(batcher.submit(n)) for n in range(1, 20)]
    await asyncio.sleep(0.02)
    assert not first.done(), "the loop stays free while the model works in its thread"
    model.gate.set()
    assert await asyncio.gather(first, *later) == [2 * n for n in range(20)]
    assert [len(batch) for batch in model.batches] == [1, 19]


@pytest.mark.parametrize("slow", [False, True])
async def test_one_bad_item_fails_alone(slow: bool) -> None:
    batcher = make(Recorder(bad=frozenset({2})), is_slow=lambda rows: slow)
    answers = await asyncio.gather(*[batcher.submit(n) for n in range(4)], return_exceptions=True)
    assert [answers[n] for n in (0, 1, 3)] == [0, 2, 6]
    assert isinstance(answers[2], ValueError)


async def test_a_model_that_answers_too_few_is_asked_one_by_one() -> None:
    batcher = make(Recorder(short=True))
    assert await asyncio.gather(*[batcher.submit(n) for n in range(3)]) == [0, 2, 4]


async def test_a_full_queue_refuses_honestly_and_keeps_what_it_has() -> None:
    model = Recorder()
    batcher = make(model, max_queued=3)
    tasks = [asyncio.create_task(batcher.submit(n)) for n in range(5)]
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[:3] == [0, 2, 4]
    assert all(isinstance(answer, Overloaded) for answer in answers[3:])
    assert await batcher.submit(9) == 18
    assert batcher.queued == 0


async def test_a_caller_that_left_is_not_computed() -> None:
    model = Recorder()
    batcher = make(model)
    gone, stays = asyncio.create_task(batcher.submit(1)), asyncio.create_task(batcher.submit(2))
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays == 4
    assert model.batches == [[2]]


async def test_a_failed_log_fails_the_whole_batch_and_the_next_one_runs() -> None:
    fail = [True]

    def finish(items: Sequence[int], results: Sequence[int]) -> list[int]:
        if fail[0]:
            raise OSError("disk full")
        return list(results)

    batcher = Batcher(
        Recorder().run, finish, size_of=lambda _: 1, max_batch=9, max_queued=9, is_slow=lambda _: False
    )
    answers = await asyncio.gather(batcher.submit(1), batcher.submit(2), return_exceptions=True)
    assert all(isinstance(answer, OSError) for answer in answers)
    fail[0] = False
    assert await batcher.submit(3) == 6
