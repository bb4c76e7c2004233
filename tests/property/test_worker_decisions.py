"""How many workers, and who gets the next connection: over all loads and all orders of coming and going."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlops_box_services.workers.balance import is_skewed, next_worker, to_shed
from mlops_box_services.workers.messages import Report
from mlops_box_services.workers.scaling import Moment, Policy, decide

from mlops_box.errors import UsageError
from mlops_box.serving.worker_bounds import WorkerBounds

shares = st.floats(0, 3)
lags = st.floats(0, 1)
reports = st.builds(lambda cpu, wait, lag: Report(cpu, cpu + wait, lag), shares, shares, lags)
policies = st.builds(
    lambda least, more, cores: Policy(least, least + more, cores),
    st.integers(1, 4), st.integers(0, 6), st.integers(1, 16),
)  # fmt: skip
counts = st.dictionaries(st.integers(1, 8), st.integers(0, 200), min_size=1, max_size=8)


@st.composite
def histories(draw: st.DrawFn) -> list[Moment]:
    gaps = draw(st.lists(st.floats(0.1, 20), max_size=30))
    at_s, found = 0.0, []
    for gap in gaps:
        at_s += gap
        found.append(Moment(at_s, tuple(draw(st.lists(reports, min_size=1, max_size=6)))))
    return found


@given(policies, histories(), st.integers(1, 12))
def test_the_number_moves_by_one_at_most_and_towards_its_bounds(
    policy: Policy, moments: list[Moment], workers: int
) -> None:
    now_s = moments[-1].at_s if moments else 0.0
    target = decide(policy, moments, workers, now_s)
    assert abs(target - workers) <= 1
    if policy.least <= workers <= policy.most:
        assert policy.least <= target <= policy.most
    else:
        assert abs(target - policy.least) <= abs(workers - policy.least)


def constant(policy: Policy, work: float, lag_s: float, workers: int, now_s: float) -> list[Moment]:
    """What is seen when ``work`` processors' worth of requests comes for ever, spread evenly; one worker does one at most."""
    each = min(work / workers, 1.0)
    used = min(each, policy.cores / workers)
    report = Report(used, each, lag_s if each >= 1.0 else 0.0)
    return [Moment(now_s + step * 0.5, (report,) * workers) for step in range(150)]


@given(policies, st.floats(0, 12), st.floats(0, 0.2))
def test_a_steady_load_finds_its_number_and_stays_there(policy: Policy, work: float, lag_s: float) -> None:
    workers, now_s, seen = policy.least, 0.0, []
    for _ in range(30):
        moments = constant(policy, work, lag_s, workers, now_s)
        now_s = moments[-1].at_s
        workers = decide(policy, moments, workers, now_s)
        seen.append(workers)
    changes = [after - before for before, after in zip([policy.least, *seen], seen, strict=False)]
    assert all(change >= 0 for change in changes)
    assert seen[-1] == seen[-2]


def test_a_busy_worker_gets_help_and_only_after_having_been_busy_for_a_while() -> None:
    policy = Policy(1, 3, cores=4)
    busy, idle = (Report(0.95, 1.0, 0.0),), (Report(0.1, 0.1, 0.0),)
    steady = [Moment(at / 2, busy) for at in range(7)]
    assert decide(policy, steady, 1, 3.0) == 2
    assert decide(policy, steady[2:], 1, 3.0) == 1
    assert decide(policy, [*steady[:5], Moment(2.5, idle), steady[6]], 1, 3.0) == 1
    late = [Moment(at / 2, (Report(0.2, 0.2, 0.2),)) for at in range(7)]
    assert decide(policy, late, 1, 3.0) == 2


def test_workers_that_have_the_whole_machine_get_no_company() -> None:
    policy = Policy(1, 4, cores=2)
    moments = [Moment(at / 2, (Report(1.0, 1.5, 0.3),) * 2) for at in range(20)]
    assert decide(policy, moments, 2, 9.5) == 2


def test_a_worker_goes_only_when_the_rest_will_have_it_easy_for_long() -> None:
    policy = Policy(1, 4, cores=4, calm_s=60)
    calm = [Moment(at / 2, (Report(0.1, 0.1, 0.0),) * 2) for at in range(121)]
    assert decide(policy, calm, 2, 60.0) == 1
    assert decide(policy, calm[10:], 2, 60.0) == 2
    half = [Moment(at / 2, (Report(0.3, 0.3, 0.0),) * 2) for at in range(121)]
    assert decide(policy, half, 2, 60.0) == 2


@given(counts)
def test_what_is_shed_and_given_out_again_is_even(open_: dict[int, int]) -> None:
    shed = to_shed(open_)
    assert all(0 < count <= open_[worker] for worker, count in shed.items())
    now = {worker: count - shed.get(worker, 0) for worker, count in open_.items()}
    for _ in range(sum(shed.values())):
        now[next_worker(now, {})] += 1
    assert sum(now.values()) == sum(open_.values())
    assert max(now.values()) - min(now.values()) <= 1
    assert not is_skewed(now)


@given(st.integers(1, 8), st.integers(0, 100))
def test_new_connections_are_even_within_one(workers: int, connections: int) -> None:
    open_ = dict.fromkeys(range(1, workers + 1), 0)
    last_given: dict[int, int] = {}
    for turn in range(connections):
        number = next_worker(open_, last_given)
        open_[number] += 1
        last_given[number] = turn
    assert max(open_.values()) - min(open_.values()) <= 1


def test_short_connections_go_round() -> None:
    last_given: dict[int, int] = {}
    chosen = []
    for turn in range(6):
        chosen.append(next_worker({1: 0, 2: 0, 3: 0}, last_given))
        last_given[chosen[-1]] = turn
    assert chosen == [1, 2, 3, 1, 2, 3]


@pytest.mark.parametrize(
    "text", ["0", "-1", "two", "", "3-1", "1-", "0-2", "65", "1-65", "auto2", "1.5", "٣"]
)
def test_what_is_no_number_of_workers_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no number of workers"):
        WorkerBounds.parse(text)


def test_bounds_are_read() -> None:
    assert WorkerBounds.parse("1").is_one
    assert WorkerBounds.parse("3") == WorkerBounds(3, 3)
    assert WorkerBounds.parse("1-4") == WorkerBounds(1, 4)
    assert WorkerBounds.parse("auto", cores=1).is_one
