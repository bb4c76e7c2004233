"""A version that must answer differently, since the world has changed, is not stopped for that once it is proven better."""

from __future__ import annotations

from datetime import timedelta

from mlops_box.project.serve import Rollout as Plan
from mlops_box.serving.rollout.evidence import Counts, StageEvidence
from mlops_box.serving.rollout.plan import stages
from mlops_box.serving.rollout.verdict import Verdict, judge

PLAN = Plan(shadow=timedelta(minutes=1), min_requests=100)


def shadow(
    requests: int, *, differs: float, loss: float | None, champion_loss: float = 0.6, expected: bool = False
) -> Verdict:
    candidate, champion = Counts(), Counts()
    for _ in range(requests):
        for counts in (candidate, champion):
            counts.answered(1, 0.002, [0], 2)
        candidate.compare(differs)
        if loss is not None:
            candidate.judged(loss)
            champion.judged(champion_loss)
    stage = stages(PLAN)[0]
    evidence = {("shadow", 0): StageEvidence("shadow", 0, champion, candidate)}
    return judge(PLAN, stage, evidence, truth_expected=expected)


def test_without_ground_truth_another_answer_is_a_fault() -> None:
    verdict = shadow(400, differs=0.9, loss=None)
    assert verdict.outcome == "bad"
    assert verdict.reason.startswith("disagreement")


def test_proven_better_it_may_differ_and_the_verdict_says_so() -> None:
    verdict = shadow(400, differs=0.9, loss=0.2)
    assert verdict.outcome == "good"
    signal = next(signal for signal in verdict.signals if signal.name == "disagreement")
    assert "ground truth proves the new version better" in signal.text


def test_a_little_better_is_no_proof() -> None:
    assert shadow(400, differs=0.9, loss=0.58).outcome == "bad"


def test_worse_and_different_stays_a_fault() -> None:
    assert shadow(400, differs=0.9, loss=0.9).outcome == "bad"


def test_where_ground_truth_is_expected_the_shadow_waits_for_it() -> None:
    waiting = shadow(400, differs=0.9, loss=None, expected=True)
    assert waiting.outcome == "cannot_tell"
    assert "must prove the new version better" in waiting.reason
    assert shadow(400, differs=0.9, loss=0.2, expected=True).outcome == "good"
    assert shadow(400, differs=0.9, loss=0.9, expected=True).outcome == "bad"
