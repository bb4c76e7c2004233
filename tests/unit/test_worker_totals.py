"""What several workers counted is one number that never falls, and what nobody knows any more is forgotten."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from mlops_box_services.workers.colleague import Colleague
from mlops_box_services.workers.totals import Totals

from mlops_box.serving import metric_table as table
from mlops_box.serving.metrics import FORGET_AFTER_S, Metrics
from mlops_box.serving.metrics_snapshot import MetricsSnapshot


class Fake:
    """A worker that answers out of the test's hand; ``None`` is silence."""

    def __init__(self, number: int):
        self.number = number
        self.pid = 1000 + number
        self.state = "warm"
        self.open = 3
        self.report = None
        self.problem: str | None = None
        self.counted = MetricsSnapshot()
        self.metrics = Metrics()
        self.silent = False
        self.serving = 2
        self.problems: list[str] = []

    async def ask(self, what: str, timeout_s: float) -> Any:
        if self.silent:
            return None
        if what == "snapshot":
            gauges = {table.WORKERS.name: {(): 1.0}}
            return self.metrics.snapshot(gauges=gauges).to_json().decode()
        route = {"model": "rates", "champion": 2, "serving": self.serving, "problem": None}
        return {"ready": not self.problems, "models": [route], "problems": self.problems}


def colleagues(*fakes: Fake) -> tuple[Colleague, ...]:
    return cast(tuple[Colleague, ...], fakes)


def value(totals: Totals, *fakes: Fake, now_s: float = 0.0, name: str = table.REQUESTS.name) -> float:
    snapshot = asyncio.run(totals.snapshot(colleagues(*fakes), now_s))
    return sum(cast(float, item) for item in snapshot.values.get(name, {}).values())


def busy(number: int, requests: int, version: str = "2") -> Fake:
    fake = Fake(number)
    for _ in range(requests):
        fake.metrics.answered("rates", version, "ok", 1, 0.001)
    return fake


def test_the_living_add_up_and_the_silent_and_the_dead_stay_counted() -> None:
    totals, one, two = Totals(), busy(1, 3), busy(2, 4)
    assert value(totals, one, two) == 7
    two.silent = True
    assert value(totals, one, two) == 7
    assert value(totals, one, two, name=table.WORKERS.name) == 1
    assert value(totals, one, two, name=table.WORKER_UP.name) == 1
    totals.keep(colleagues(two)[0], None, died=True)
    assert value(totals, one) == 7
    assert value(totals, one, busy(2, 1)) == 8
    assert value(totals, one, name=table.WORKER_RESTARTS.name) == 1


def test_a_worker_that_says_good_bye_is_counted_to_its_last_request() -> None:
    totals, one, two = Totals(), busy(1, 3), busy(2, 4)
    value(totals, one, two)
    last = busy(2, 9).metrics.snapshot().to_json().decode()
    totals.keep(colleagues(two)[0], last, died=False)
    assert value(totals, one) == 12
    assert value(totals, one, name=table.WORKER_RESTARTS.name) == 0


def test_what_the_dead_counted_for_a_version_that_is_gone_is_forgotten_after_a_while() -> None:
    totals, one, two = Totals(), busy(1, 3), busy(2, 4, version="1")
    value(totals, one, two)
    totals.keep(colleagues(two)[0], None, died=True)
    assert value(totals, one, now_s=10.0) == 7
    assert value(totals, one, now_s=10.0 + FORGET_AFTER_S) == 7
    assert value(totals, one, now_s=11.0 + FORGET_AFTER_S) == 3


def readiness(*fakes: Fake, least: int = 1, problem: str | None = None) -> dict[str, Any]:
    return asyncio.run(Totals().readiness(colleagues(*fakes), least=least, problem=problem))


def test_ready_is_said_for_all_and_who_does_not_answer_is_named() -> None:
    one, two = Fake(1), Fake(2)
    assert readiness(one, two)["ready"]
    two.silent = True
    found = readiness(one, two)
    assert not found["ready"]
    assert found["problems"] == ["worker 2 (process 1002) does not answer"]
    assert [line["answers"] for line in found["workers"]] == [True, False]


def test_the_version_furthest_behind_is_told() -> None:
    one, two = Fake(1), Fake(2)
    two.serving = 1
    found = readiness(one, two)
    assert not found["ready"]
    assert found["models"][0]["serving"] == 1


def test_too_few_workers_and_an_unreadable_box_are_not_ready() -> None:
    one, two = Fake(1), Fake(2)
    two.state, two.problem = "starting", "rates: golden rows"
    found = readiness(one, two, least=2, problem="disk I/O error")
    assert found["problems"] == [
        "promotions are not seen: disk I/O error",
        "worker 2 cannot serve: rates: golden rows",
        "1 of 2 workers are warm",
    ]
