"""The parts of a rollout: who is asked, what is counted, what the counts prove, what may follow."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from mlops_box.models.values import Feature, Signature
from mlops_box.serving.rollout.assign import Assignment
from mlops_box.serving.rollout.breaker import Breaker
from mlops_box.serving.rollout.evidence import Counts, EvidenceRow, StageEvidence, merged
from mlops_box.serving.rollout.plan import Plan, Stage, stages
from mlops_box.serving.rollout.sequential import (
    Sum,
    _log_likelihood,
    _log_null,
    log_e_above,
    log_e_below,
    log_e_over,
    log_e_under,
    log_mean_exp,
)
from mlops_box.serving.rollout.states import Hold, Rollout, Situation, Transition, decide
from mlops_box.serving.rollout.verdict import Verdict, judge
from mlops_box.serving.rollout.yardstick import Yardstick, yardstick_for

PLAN = Plan(shadow="10m", canary=[5, 25], step="10m", min_requests=200)  # type: ignore[arg-type]
SHADOW, FIVE, QUARTER = stages(PLAN)
BINS = Yardstick(edges=(1.0, 2.0, 3.0), spread=0.5, error_scale=1.0)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def counts(
    requests: int,
    *,
    failing: int = 0,
    latency_s: float = 0.004,
    predictions: tuple[float, ...] = (1, 2, 3, 4),
) -> Counts:
    """Requests with latencies spread by half around ``latency_s`` and these predictions in turn."""
    found = Counts()
    for index in range(requests):
        if index < failing:
            found.failed_with("raised", 1, latency_s)
            continue
        spread = latency_s * 1.5 ** math.sin(index)
        number = predictions[index % len(predictions)] - 0.5
        found.answered(1, spread, [BINS.bin_of(number, None)], BINS.bins)
    return found


def verdict(candidate: Counts, champion: Counts, *, stage: Stage = FIVE, plan: Plan = PLAN) -> Verdict:
    evidence = StageEvidence(stage.state, stage.step, champion, candidate)
    return judge(plan, stage, {(stage.state, stage.step): evidence})


def rollout(state: str = "canary", step: int = 0, **changes: Any) -> Rollout:
    facts: dict[str, Any] = {
        "id": "r1", "model": "bikes", "number": 8, "base": 7, "base_since": NOW, "project": "bikes", "state": state, "step": step,
        "revision": 1, "plan": PLAN, "yardstick": BINS, "reason": "", "proposed_at": NOW, "started_at": NOW,
        "stage_at": NOW, "paused_at": None, "ended_at": None,
    }  # fmt: skip
    return Rollout(**{**facts, **changes})


def situation(minutes: float = 11, **changes: Any) -> Situation:
    return Situation(
        **{"now": NOW + timedelta(minutes=minutes), "champion": 7, "champion_since": NOW, **changes}
    )


def evidence(candidate: Counts, champion: Counts, stage: Stage = FIVE) -> dict[Any, StageEvidence]:
    return {(stage.state, stage.step): StageEvidence(stage.state, stage.step, champion, candidate)}


@pytest.mark.parametrize("percent", [1, 5, 25, 50, 99])
def test_the_share_of_keys_that_meet_the_candidate_is_the_declared_one(percent: int) -> None:
    assignment = Assignment("r1", percent)
    met = sum(assignment.is_candidate(b"user-%d" % number) for number in range(20_000))
    assert abs(met / 20_000 - percent / 100) < 0.012


def test_a_key_stays_with_the_candidate_as_its_share_grows_and_in_every_process() -> None:
    keys = [b"user-%d" % number for number in range(2_000)]
    met = [{key for key in keys if Assignment("r1", percent).is_candidate(key)} for percent in (5, 25, 50)]
    assert met[0] < met[1] < met[2]
    assert met[0] == {key for key in keys if Assignment("r1", 5).is_candidate(key)}
    assert met[0] != {key for key in keys if Assignment("r2", 5).is_candidate(key)}, (
        "not always the same people"
    )


def test_the_breaker_opens_after_three_failures_in_a_row() -> None:
    breaker = Breaker()
    assert [breaker.note(one) for one in (None, "raised", "raised", "raised")] == [False, False, False, True]
    assert breaker.is_open
    assert not breaker.note("raised"), "it says so once"


@pytest.mark.parametrize("every", [2, 3, 4])
def test_the_breaker_opens_within_twenty_requests_at_a_failure_every_few(every: int) -> None:
    breaker = Breaker()
    asked = next(n for n in range(1, 100) if breaker.note("not_finite" if n % every == 0 else None))
    assert asked <= 20


def test_the_breaker_stays_closed_at_one_failure_in_twenty() -> None:
    breaker = Breaker()
    assert not any(breaker.note("timed_out" if n % 20 == 0 else None) for n in range(2_000))


def test_counts_of_processes_add_up_in_any_order_and_through_the_database() -> None:
    parts = [
        EvidenceRow("canary", 0, "candidate", counts(30, failing=2)),
        EvidenceRow("canary", 0, "champion", counts(500)),
        EvidenceRow("canary", 0, "candidate", counts(70, failing=1)),
        EvidenceRow("shadow", 0, "candidate", Counts(requests=9, compared=9, disagreement=1.5, dropped=3)),
    ]
    one, other = merged(parts), merged(reversed(parts))
    assert one == other
    found = one[("canary", 0)]
    assert (found.candidate.requests, found.candidate.failed, found.champion.requests) == (100, 3, 500)
    assert sum(found.candidate.predictions) == pytest.approx(97)
    for stage in one.values():
        assert Counts.from_json(stage.candidate.to_json()) == stage.candidate


def test_a_request_of_many_rows_counts_as_one_observation() -> None:
    found = Counts()
    found.answered(100, 0.001, [0] * 40 + [1] * 60, 4)
    assert found.predictions == pytest.approx([0.4, 0.6, 0, 0])
    assert (found.requests, found.rows) == (1, 100)


def test_a_corrected_truth_takes_the_place_of_the_first() -> None:
    found = Counts()
    found.judged(0.8)
    found.judged(0.1, instead_of=0.8)
    assert (found.truths, found.loss) == (1, pytest.approx(0.1))


@pytest.mark.parametrize("share", [2, 20])
def test_equal_rates_never_look_different_however_often_one_looks(share: int) -> None:
    """Ville's inequality, by simulation: at most 1 of 100 at the 1 % level; 300 pairs, looked at 100 times each."""
    random = np.random.default_rng(5)
    alarms = 0
    for _ in range(300):
        steps = 100
        mine = random.binomial(20, 0.05, steps).cumsum()
        theirs = random.binomial(20 * share, 0.05, steps).cumsum()
        alarms += any(
            log_e_above(Sum(20 * n, mine[n - 1]), Sum(20 * share * n, theirs[n - 1])) >= math.log(100)
            for n in range(1, steps + 1)
        )
    assert alarms <= 3


def test_the_closed_form_without_a_margin_is_the_limit_of_the_one_with() -> None:
    a, b = Sum(400, 31.5), Sum(3000, 62.25)
    assert log_e_above(a, b, margin=1e-9) == pytest.approx(log_e_above(a, b), abs=1e-4)
    assert log_e_above(a, b) > log_e_above(a, b, margin=0.01) > log_e_above(a, b, margin=0.04)


def test_the_null_is_given_its_best_case() -> None:
    """Evidence is over the largest likelihood the null allows: no other mean makes it smaller."""
    random = np.random.default_rng(9)
    for _ in range(200):
        sizes = random.choice([1, 5, 50, 1000, 10**6], 2)
        rates = random.choice([0.0, 1.0, 0.5, 0.01, 0.98], 2)
        a, b = (Sum(float(n), float(n * rate)) for n, rate in zip(sizes, rates, strict=True))
        margin = float(random.choice([0.02, 0.1, 0.3, 0.9, -0.02, -0.3, -0.9]))
        found = _log_null(a, b, margin)
        for mean in np.linspace(max(0.0, -margin), min(1.0, 1.0 - margin), 101):
            assert found >= _log_likelihood(a, mean + margin) + _log_likelihood(b, mean) - 1e-6


def test_below_is_above_seen_in_the_mirror() -> None:
    a, b = Sum(400, 8), Sum(3000, 62.25)
    assert log_e_below(a, b, margin=0.02) == log_e_above(a.mirrored(), b.mirrored(), margin=-0.02)
    assert log_e_under(Sum(300, 0), 0.02) == pytest.approx(log_e_over(Sum(300, 300), 0.98))


def test_nothing_known_proves_nothing() -> None:
    nothing, some = Sum(0, 0), Sum(10, 10)
    assert (
        log_e_above(nothing, some)
        == log_e_above(some, nothing)
        == log_e_below(nothing, nothing, margin=0.5)
        == 0
    )
    assert log_e_over(nothing, 0.5) == log_e_under(nothing, 0.5) == 0


def test_the_mean_of_evidence_is_less_than_its_largest_and_counts_the_silent() -> None:
    assert log_mean_exp([math.log(8)], count=2) == pytest.approx(math.log(4.5))
    assert log_mean_exp([900.0], count=10) == pytest.approx(900 - math.log(10))


def test_the_same_behaviour_is_good_once_there_is_enough_of_it() -> None:
    found = verdict(counts(600), counts(11_000))
    assert found.outcome == "good", found
    assert {signal.outcome for signal in found.signals if signal.required} == {"good"}


@pytest.mark.parametrize("requests", [0, 10, 199])
def test_too_little_traffic_is_neither_good_nor_bad(requests: int) -> None:
    found = verdict(counts(requests), counts(10_000))
    assert found.outcome == "cannot_tell"
    assert f"{requests} of 200" in found.reason


def test_no_champion_traffic_is_no_proof_either() -> None:
    assert verdict(counts(1000), Counts()).outcome == "cannot_tell"


def test_an_empty_stage_can_never_be_good() -> None:
    assert judge(PLAN, SHADOW, {}).outcome == "cannot_tell"


@pytest.mark.parametrize(
    ("candidate", "signal"),
    [
        (counts(400, failing=24), "errors"),
        (counts(400, latency_s=0.009), "latency"),
        (counts(400, predictions=(2,)), "predictions"),
    ],
)
def test_what_is_plainly_worse_is_bad_and_says_by_what(candidate: Counts, signal: str) -> None:
    found = verdict(candidate, counts(8_000))
    assert found.outcome == "bad"
    assert found.reason.startswith(signal)
    worst = next(one for one in found.signals if one.name == signal)
    assert worst.evidence >= worst.needed


def test_slower_by_less_than_a_millisecond_is_nobodys_business() -> None:
    found = verdict(counts(800, latency_s=0.0008), counts(8_000, latency_s=0.0003))
    assert next(one for one in found.signals if one.name == "latency").outcome == "good"


def test_both_failing_alike_is_not_the_candidates_fault() -> None:
    assert verdict(counts(500, failing=25), counts(10_000, failing=500)).outcome != "bad"


def test_shadow_disagreement_above_its_limit_is_bad_and_below_is_good() -> None:
    def compared(share: float) -> Counts:
        found = counts(600)
        for index in range(600):
            found.compare(float((index * share) % 1 >= 1 - share))
        return found

    assert verdict(compared(0.05), counts(600), stage=SHADOW).outcome == "good"
    found = verdict(compared(0.9), counts(600), stage=SHADOW)
    assert (found.outcome, found.reason.split(":")[0]) == ("bad", "disagreement")


def test_worse_answers_by_the_ground_truth_are_bad_even_when_it_comes_a_stage_later() -> None:
    flipped, fine = counts(600), counts(9_000)
    for index in range(150):
        flipped.judged(float(index % 10 != 0))
        fine.judged(float(index % 10 == 0))
    before = evidence(flipped, fine)
    now = evidence(counts(600), counts(1800), QUARTER)
    found = judge(PLAN, QUARTER, {**before, **now})
    assert (found.outcome, found.reason.split(":")[0]) == ("bad", "quality")


def test_without_ground_truth_quality_does_not_stand_in_the_way() -> None:
    found = verdict(counts(600), counts(11_000))
    assert next(one for one in found.signals if one.name == "quality").outcome == "cannot_tell"
    assert found.outcome == "good"


def test_an_open_breaker_is_proof_by_itself() -> None:
    tripped = Counts(requests=3, failures={"raised": 3}, tripped="3 failures in a row (raised) by request 3")
    assert verdict(tripped, Counts()).outcome == "bad"


def test_a_rollout_goes_through_its_stages_to_champion() -> None:
    fine = evidence(counts(600), counts(11_000)) | evidence(counts(600), counts(2_000), QUARTER)
    assert decide(rollout("proposed"), situation()) == Transition("shadow", 0, "shadow begins")
    following = decide(rollout("canary", 0), situation(evidence=fine))
    assert isinstance(following, Transition)
    assert (following.state, following.step) == ("canary", 1)
    last = decide(rollout("canary", 1), situation(evidence=fine))
    assert isinstance(last, Transition)
    assert last.state == "champion"


@pytest.mark.parametrize(
    ("state", "given", "reason"),
    [
        ("proposed", {"under_way": True}, "under way"),
        ("proposed", {"cools_until": NOW + timedelta(minutes=30)}, "cools down"),
        ("canary", {}, "too little traffic"),
        ("canary", {"evidence": evidence(counts(600), counts(11_000)), "minutes": 9}, "lasts another"),
        ("canary", {"evidence": evidence(counts(600), counts(11_000)), "forbidden": "approval"}, "approval"),
    ],
)
def test_what_is_not_ready_waits_and_says_for_what(state: str, given: dict[str, Any], reason: str) -> None:
    found = decide(rollout(state), situation(given.pop("minutes", 11), **given))
    assert isinstance(found, Hold)
    assert reason in found.reason


@pytest.mark.parametrize(
    ("state", "ends"), [("proposed", "rejected"), ("shadow", "rejected"), ("canary", "rolled_back")]
)
def test_another_champion_ends_a_rollout(state: str, ends: str) -> None:
    found = decide(rollout(state), situation(champion=9))
    assert isinstance(found, Transition)
    assert (found.state, "bikes@9 serves now" in found.reason) == (ends, True)


def test_a_candidate_made_champion_by_hand_has_arrived() -> None:
    found = decide(rollout("canary"), situation(champion=8))
    assert isinstance(found, Transition)
    assert found.state == "champion"


def test_undecided_for_too_long_is_rolled_back_with_the_reason() -> None:
    found = decide(rollout("canary"), situation(24 * 60 + 1))
    assert isinstance(found, Transition)
    assert found.state == "rolled_back"
    assert "not decided within" in found.reason
    assert "too little traffic" in found.reason


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (rollout("proposed"), "proposed"),
        (rollout("shadow"), "shadow"),
        (rollout("canary", 1), "canary 25 %"),
        (rollout("canary", 1, paused_at=NOW), "canary 25 %, paused"),
        (rollout("rolled_back"), "rolled back"),
    ],
)
def test_where_a_rollout_stands_is_worded_once(found: Rollout, text: str) -> None:
    assert found.stage_text == text


def test_a_pause_holds_what_is_good_and_not_what_is_bad() -> None:
    paused = rollout("canary", paused_at=NOW)
    good, bad = evidence(counts(600), counts(11_000)), evidence(counts(400, failing=40), counts(8_000))
    assert isinstance(decide(paused, situation(evidence=good)), Hold)
    assert isinstance(decide(paused, situation(2 * 24 * 60, evidence=good)), Hold), "its clock stands still"
    found = decide(paused, situation(evidence=bad))
    assert isinstance(found, Transition)
    assert found.state == "rolled_back"


def test_the_yardstick_fits_the_task() -> None:
    features = (Feature("x", "numeric", "double"),)
    number = yardstick_for(Signature("regression", "y", features), [float(n) for n in range(100)], error=4.0)
    assert (len(number.edges), number.error_scale) == (19, 4.0)
    assert number.loss(10.0, None, "14", 14.0) == 0.5
    assert not number.disagree(10.0, None, 11.0, None)
    assert number.disagree(10.0, None, 90.0, None)
    assert number.disagree(None, None, 90.0, None)
    binary = yardstick_for(Signature("binary", "y", features, (False, True)), [])
    assert binary.bin_of(0.97, "true") == binary.bins - 1
    assert binary.loss(0.97, "true", "false", 0.0) == 1.0
    many = yardstick_for(Signature("multiclass", "y", features, ("a", "b", "c")), [])
    assert [many.bin_of(None, label) for label in ("a", "c", "new")] == [0, 2, 3]
    assert many.disagree(None, "a", None, "b")
    for one in (number, binary, many):
        assert Yardstick.from_json(one.to_json()) == one
        json.loads(one.to_json())


def test_a_constant_champion_still_gives_a_yardstick() -> None:
    flat = yardstick_for(Signature("regression", "y", (Feature("x", "numeric", "double"),)), [7.0] * 30)
    assert flat.disagree(7.0, None, 70.0, None)
    assert not flat.disagree(7.0, None, 7.0, None)
