"""Whatever the arrival pattern, everybody gets the own answer, batches keep to the cap, nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_box.serving.batcher import Batcher
from mlops_box.serving.problems import Overloaded

requests = st.lists(st.tuples(st.integers(1, 6), st.booleans(), st.integers(0, 3)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(requests=requests, cap=st.integers(1, 12), limit=st.integers(4, 40), slow_rows=st.integers(1, 20))
def test_any_arrival_pattern(
    requests: list[tuple[int, bool, int]], cap: int, limit: int, slow_rows: int
) -> None:
    batches: list[list[int]] = []

    def run(items: Sequence[tuple[int, int, bool]]) -> list[int]:
        batches.append([size for _, size, _ in items])
        if any(bad for _, _, bad in items):
            raise ValueError("bad")
        return [number for number, _, _ in items]

    async def drive() -> tuple[list[int | BaseException], int]:
        batcher = Batcher(
            run, lambda items, results: list(results), size_of=lambda item: item[1], max_batch=cap,
            max_queued=limit, is_slow=lambda rows: rows >= slow_rows,
        )  # fmt: skip
        tasks = []
        for number, (size, bad, pause) in enumerate(requests):
            tasks.append(asyncio.create_task(batcher.submit((number, size, bad))))
            for _ in range(pause):
                await asyncio.sleep(0)
            assert batcher.queued <= max(limit, 6)
        answers = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
        return list(answers), batcher.queued

    answers, left = asyncio.run(drive())
    assert left == 0
    for number, ((_, bad, _), answer) in enumerate(zip(requests, answers, strict=True)):
        if isinstance(answer, Overloaded):
            continue
        assert isinstance(answer, ValueError) if bad else answer == number
    for sizes in batches:
        assert sum(sizes) <= cap or len(sizes) == 1
