"""Two hundred boxes live six weeks each in simulated worlds, unattended, decided by the code that ships.

A seed that ends badly is replayed by ``python -m benchmarks.autonomy.run --replay KIND SEED``.
"""

from __future__ import annotations

import pytest

from benchmarks.autonomy.life import LIFE, Outcome
from benchmarks.autonomy.run import jobs, run
from benchmarks.autonomy.world import KINDS, Kind

SEEDS = 200
MONTHS = LIFE.days / 30
Lives = dict[Kind, list[tuple[int, Outcome]]]


@pytest.fixture(scope="module")
def lives() -> Lives:
    found: Lives = {kind: [] for kind in KINDS}
    for (kind, seed), outcome in run(jobs(SEEDS), processes=2):
        found[kind].append((seed, outcome))
    return found


def told(lives: Lives, kind: Kind) -> str:
    """What to read when a test fails."""
    lines = [
        f"{kind} {seed}: {'; '.join(o.reasons)}" for seed, o in lives[kind] if o.harmful or o.false_retrains
    ]
    return "\n".join(lines[:5])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["null", "season", "sensor", "poisoned"])
def test_where_nothing_can_be_learnt_hardly_anything_is_retrained(lives: Lives, kind: Kind) -> None:
    """The declared budget is one false alarm a model and month; a retraining takes two bad days of three."""
    false = sum(outcome.false_retrains for _, outcome in lives[kind])
    assert false / (len(lives[kind]) * MONTHS) <= 0.2, told(lives, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["null", "season", "sudden", "gradual", "concept", "sensor", "late labels"])
def test_no_box_promotes_a_worse_model(lives: Lives, kind: Kind) -> None:
    assert sum(outcome.harmful for _, outcome in lives[kind]) == 0, told(lives, kind)


@pytest.mark.slow
def test_every_poisoned_candidate_is_stopped(lives: Lives) -> None:
    outcomes = [outcome for _, outcome in lives["poisoned"]]
    assert sum(outcome.poisoned for outcome in outcomes) == len(outcomes)
    assert all(outcome.stopped == 1 and outcome.harmful == 0 for outcome in outcomes), told(lives, "poisoned")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "days", "error"),
    [("sudden", 2, 0.8), ("gradual", 9, 0.8), ("concept", 2, 0.5), ("late labels", 9, 0.6)],
)
def test_a_change_is_noticed_and_the_new_champion_is_better(
    lives: Lives, kind: Kind, days: int, error: float
) -> None:
    """Within ``days`` in nine boxes of ten; the last champion's error is below ``error`` of the first one's, in the middle."""
    delays = [outcome.detected_after for _, outcome in lives[kind]]
    in_time = [delay for delay in delays if delay is not None and delay <= days]
    assert len(in_time) >= 0.9 * len(delays), delays
    ratios = sorted(outcome.end_ratio for _, outcome in lives[kind])
    assert ratios[len(ratios) // 2] < error, ratios


@pytest.mark.slow
def test_a_world_that_swings_to_and_fro_does_little_harm(lives: Lives) -> None:
    """A model learnt in one week may be promoted in the next, when the world is back: it is worse then, and counted."""
    outcomes = [outcome for _, outcome in lives["recurring"]]
    promotions = sum(outcome.promotions for outcome in outcomes)
    assert sum(outcome.harmful for outcome in outcomes) <= 0.4 * promotions, told(lives, "recurring")
