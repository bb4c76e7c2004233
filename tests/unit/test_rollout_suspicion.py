"""A candidate that looks worse by the ground truth, without proof, is held: it neither moves on nor is rolled back yet."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.rollout.traffic import Behaviour, Simulation, World
from mlops_box.project.serve import Rollout as Plan
from mlops_box.serving.rollout.evidence import Counts, StageEvidence
from mlops_box.serving.rollout.plan import stages
from mlops_box.serving.rollout.states import Hold, Rollout, Situation, Transition, decide
from mlops_box.serving.rollout.suspicion import LEANS, lean
from mlops_box.serving.rollout.verdict import judge
from mlops_box.serving.rollout.yardstick import Yardstick

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLAN = Plan(canary=[5, 50], step=timedelta(minutes=10), min_requests=200)
FIRST, LAST = stages(PLAN)


def counted(requests: int, truths: int, wrong: float) -> Counts:
    counts = Counts()
    for index in range(requests):
        counts.answered(1, 0.004, [index % 2], 2)
    counts.truths, counts.loss = truths, wrong
    return counts


def at(
    step: int, mine: tuple[int, float], theirs: tuple[int, float], *, requests: int = 800
) -> StageEvidence:
    """Truths and wrong answers of both."""
    return StageEvidence("canary", step, counted(3_000, *theirs), counted(requests, *mine))


def decided(*found: StageEvidence, hours: float = 1.0) -> Transition | Hold:
    rollout = Rollout(
        "r", "m", 8, 7, NOW, "m", "canary", found[-1].step, 3, PLAN, Yardstick(edges=(0.5,)), "", NOW, NOW, NOW, None, None
    )  # fmt: skip
    evidence = {(one.state, one.step): one for one in found}
    return decide(rollout, Situation(NOW + timedelta(hours=hours), 7, NOW, evidence=evidence))


def test_twice_as_often_wrong_but_not_proven_is_held_and_says_how_far_it_leans() -> None:
    found = decided(at(0, (30, 12), (600, 120)))
    assert isinstance(found, Hold)
    assert found.reason.startswith("quality: mean loss 0.400 on 30 truths, the champion's 0.200 on 600")
    assert "standard deviations worse" in found.reason
    assert found.verdict is not None
    signal = next(one for one in found.verdict.signals if one.name == "quality")
    assert (signal.outcome, signal.suspicious) == ("cannot_tell", True)
    assert signal.values["lean"] >= LEANS


def test_as_often_wrong_as_the_champion_moves_on() -> None:
    assert isinstance(decided(at(0, (30, 6), (600, 120))), Transition)


def test_what_an_earlier_stage_made_suspicious_is_held_in_the_next() -> None:
    """Truth that comes after its stage is over: the last stage may not end without more of it."""
    assert isinstance(decided(at(0, (60, 26), (900, 180)), at(1, (0, 0), (0, 0))), Hold)


def test_more_truth_releases_who_had_bad_luck() -> None:
    early = at(0, (30, 12), (600, 120))
    assert isinstance(decided(early, at(1, (20, 4), (20, 4))), Hold)
    found = decided(early, at(1, (900, 180), (900, 180)))
    assert isinstance(found, Transition)
    assert found.state == "champion"


def test_suspicious_until_the_longest_duration_it_is_rolled_back_and_the_reason_said() -> None:
    found = decided(at(0, (30, 12), (600, 120)), hours=25)
    assert isinstance(found, Transition)
    assert found.state == "rolled_back"
    assert found.reason.startswith("not decided within 24h00m: quality: mean loss 0.400")


def test_a_single_wrong_answer_is_not_suspicious() -> None:
    assert lean([at(0, (1, 1), (99, 20))]) < LEANS


@pytest.mark.parametrize("loss", [(0, 0), (50, 0), (50, 50)])
def test_no_truth_and_no_difference_lean_nowhere(loss: tuple[int, float]) -> None:
    assert lean([at(0, loss, loss)]) == 0.0


def test_a_bad_day_that_hurts_both_alike_does_not_lean_though_the_candidate_saw_more_of_it() -> None:
    calm, stormy = at(0, (50, 5), (950, 95)), at(1, (500, 250), (500, 250))
    assert lean([calm, stormy]) < 0.5


def test_proven_worse_is_bad_and_not_merely_held() -> None:
    stage = at(0, (300, 240), (900, 90))
    assert judge(PLAN, FIRST, {("canary", 0): stage}).outcome == "bad"


@pytest.mark.parametrize("seed", range(6))
def test_short_stages_do_not_let_twice_as_often_wrong_pass(seed: int) -> None:
    world = World(truth=0.2, look_s=4)
    world = replace(world, plan=world.plan.model_copy(update={"shadow": None}))
    ended = Simulation(Behaviour(wrong=0.4), world, seed).run()
    assert (ended.state, ended.reason.split(":")[0]) == ("rolled_back", "quality")
