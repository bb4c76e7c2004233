"""A retrained version takes over by its declared rollout, and people can look, hold, skip and end it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from monitor_case import MODEL, Case
from train_kit import Told, commander

from mlops_box.box import Box
from mlops_box.errors import GateError, NotFoundError, UsageError
from mlops_box.operations.approve import approve
from mlops_box.operations.promote import promote, roll_back
from mlops_box.operations.rollout import abort, advance, pause, promote_now, resume, start, status
from mlops_box.operations.train import train
from mlops_box.operations.verify import verify
from mlops_box.operations.why import explain
from mlops_box.serving.rollout.evidence import Counts, EvidenceRow
from mlops_box.serving.rollout.states import Rollout

DECLARED = '\n[serve.rollout]\nshadow = "5m"\ncanary = [10, 50]\nstep = "5m"\ncooldown = "1h"\n'


@contextmanager
def rollout_case(folder: Path) -> Iterator[Case]:
    """A project with a champion, that declares a rollout."""
    made = Case(folder)
    made.train()
    path = made.folder / "mlops.toml"
    path.write_text(path.read_text() + DECLARED)
    made.box.projects.register(made.project)
    yield made
    made.box.close()


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    with rollout_case(tmp_path) as made:
        yield made


@pytest.fixture
def run(case: Case, capfd: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    return commander(case.box.home.root, capfd)


def retrained(case: Case) -> Rollout:
    """The rollout of a version trained now, its first stage begun."""
    outcome = train(case.box, case.project)
    assert not outcome.promoted
    assert "rollout" in outcome.notes[0]
    advance(case.box)
    (rollout,) = case.box.rollouts.open(MODEL)
    assert (rollout.ref, rollout.state) == (outcome.version.ref, "shadow")
    return rollout


def answered(rollout: Rollout, requests: int, *, failing: int = 0) -> Counts:
    found, bins = Counts(), rollout.yardstick.bins
    for index in range(requests):
        if index < failing:
            found.failed_with("raised", 1, 0.002)
        else:
            found.answered(1, 0.002, [index % bins], bins)
            found.compare(float(index % 20 == 0))
    return found


def observed(case: Case, rollout: Rollout, *, failing: int = 0) -> None:
    assert rollout.stage is not None
    candidate, champion = answered(rollout, 600, failing=failing), answered(rollout, 3000)
    state, step = rollout.stage.state, rollout.stage.step
    rows = [
        EvidenceRow(state, step, "candidate", candidate),
        EvidenceRow(state, step, "champion", champion),
    ]
    case.box.rollouts.put_evidence(rollout.id, "a process", rows)
    case.clock.advance(timedelta(minutes=6))


def test_the_first_version_serves_at_once_and_the_next_has_to_prove_itself(case: Case) -> None:
    rollout = retrained(case)
    assert case.box.models.get(MODEL).number == 1
    for expected in ("canary", "canary", "champion"):
        observed(case, rollout)
        (move,) = advance(case.box)
        rollout = move.rollout
        assert rollout.state == expected
    assert case.box.models.aliases(MODEL) == {"champion": 2, "last_good": 1}
    assert verify(case.box).problems == ()
    acts = [entry.act for entry in reversed(case.box.ledger.entries(subject=f"rollout:{rollout.id}"))]
    assert acts == [
        "rollout.proposed",
        "rollout.shadow",
        "rollout.canary",
        "rollout.canary",
        "rollout.champion",
    ]
    story = explain(case.box, rollout.id)
    assert "canary 10 % by tester" in "\n".join(story.lines)
    assert "came closest" in story.lines[-1]
    assert any(f"rollout {rollout.id}" in line for line in explain(case.box, f"{MODEL}@2").lines)


def test_a_bad_version_is_rolled_back_with_its_evidence_and_the_next_one_cools_down(case: Case) -> None:
    rollout = retrained(case)
    observed(case, rollout)
    advance(case.box)
    rollout = case.box.rollouts.get(rollout.id)
    observed(case, rollout, failing=60)
    (move,) = advance(case.box)
    assert move.rollout.state == "rolled_back"
    assert case.box.models.aliases(MODEL) == {"champion": 1}
    story = "\n".join(explain(case.box, rollout.id).lines)
    assert "errors: bad: 10.00% of 600 requests failed (60 raised)" in story
    assert "errors within its limit" in story

    train(case.box, case.project)
    (waiting,) = status(case.box, MODEL)
    assert waiting.rollout.state == "proposed"
    assert "cools down for another" in waiting.waits_for
    assert not any(move.is_transition for move in advance(case.box))
    case.clock.advance(timedelta(hours=1))
    assert advance(case.box)[0].rollout.state == "shadow"


def test_no_traffic_holds_and_in_the_end_the_champion_stays(case: Case) -> None:
    rollout = retrained(case)
    case.clock.advance(timedelta(hours=23))
    assert not advance(case.box)[0].is_transition
    case.clock.advance(timedelta(hours=2))
    (move,) = advance(case.box)
    assert move.rollout.state == "rejected"
    assert "too little traffic: 0 of 200" in move.rollout.reason
    assert case.box.models.get(MODEL).number == 1
    assert "more traffic or more time" in "\n".join(explain(case.box, rollout.id).lines)


def test_people_hold_it_let_it_go_on_and_the_time_between_does_not_count(case: Case) -> None:
    rollout = retrained(case)
    assert pause(case.box, MODEL, reason="lunch").waits_for == "paused"
    observed(case, rollout)
    assert not advance(case.box)[0].is_transition
    resumed = resume(case.box, MODEL, reason="back")
    assert "lasts another 5m00s" in resumed.waits_for
    case.clock.advance(timedelta(minutes=6))
    assert advance(case.box)[0].rollout.state == "canary"


def test_people_skip_the_rest_or_end_it(case: Case) -> None:
    retrained(case)
    assert promote_now(case.box, MODEL, reason="urgent").rollout.state == "champion"
    assert case.box.models.aliases(MODEL) == {"champion": 2, "last_good": 1}
    retrained(case)
    assert abort(case.box, MODEL, reason="changed my mind").rollout.state == "rejected"
    assert case.box.models.get(MODEL).number == 2
    with pytest.raises(NotFoundError, match="no rollout of kettles is under way"):
        abort(case.box, MODEL, reason="again")
    with pytest.raises(UsageError, match="a reason is needed"):
        pause(case.box, MODEL, reason=" ")


def test_a_rollback_or_promotion_by_hand_ends_the_rollout(case: Case) -> None:
    promote_now(case.box, retrained(case).model, reason="urgent")
    rollout = retrained(case)
    roll_back(case.box, MODEL, reason="the old one was better")
    assert case.box.rollouts.get(rollout.id).state == "rejected"
    case.clock.advance(timedelta(hours=2))
    rollout = retrained(case)
    promote(case.box, rollout.ref, reason="I am sure")
    ended = case.box.rollouts.get(rollout.id)
    assert (ended.state, case.box.models.get(MODEL).ref) == ("champion", rollout.ref)
    assert case.box.models.aliases(MODEL)["last_good"] == 1


def test_a_later_version_takes_the_place_of_one_that_waits(case: Case) -> None:
    live = retrained(case)
    train(case.box, case.project)
    train(case.box, case.project)
    found = {rollout.ref: rollout.state for rollout in case.box.rollouts.list(MODEL)}
    assert found == {live.ref: "shadow", f"{MODEL}@3": "rejected", f"{MODEL}@4": "proposed"}


def test_an_ended_version_may_be_tried_again_by_hand(case: Case) -> None:
    rollout = retrained(case)
    abort(case.box, MODEL, reason="wrong day")
    case.clock.advance(timedelta(hours=2))
    again = start(case.box, rollout.ref, reason="right day")
    assert (again.rollout.state, again.rollout.ref) == ("shadow", rollout.ref)
    with pytest.raises(UsageError, match="is the champion"):
        start(case.box, f"{MODEL}@1", reason="no")


def test_live_requests_wait_for_the_approval_that_the_project_asks_for(case: Case) -> None:
    path = case.folder / "mlops.toml"
    path.write_text(path.read_text().replace("[gates]", '[gates]\napproval = "required"'))
    ref = train(case.box, case.project).version.ref
    assert case.box.rollouts.open(MODEL) == []
    with Box.open(case.box.home, clock=case.clock, actor="colleague") as other:
        outcome = approve(other, ref, reason="looked at")
    assert (outcome.promoted, "rollout" in str(outcome.note)) == (False, True)
    advance(case.box)
    (rollout,) = case.box.rollouts.open(MODEL)
    observed(case, rollout)
    case.clock.advance(timedelta(days=8))
    case.box.rollouts.put_evidence(rollout.id, "a process", [])
    with pytest.raises(GateError, match="has expired"):
        promote_now(case.box, MODEL, reason="now")


def test_the_command_line_shows_and_steers_it(case: Case, run: Callable[..., Told]) -> None:
    # Commands live in real time.
    case.clock.advance(datetime.now(UTC) - case.clock.now())
    path = case.folder / "mlops.toml"
    path.write_text(path.read_text().replace('cooldown = "1h"', 'cooldown = "0s"'))
    assert run("rollout", "status").out.startswith("no rollout yet")
    assert run("rollout", "list", "--json").json == []
    rollout = retrained(case)
    shown = run("rollout", "status", MODEL)
    assert f"{rollout.ref} over {MODEL}@1: shadow" in shown.out
    assert "waits for: too little traffic: 0 of 200 requests" in shown.out
    (found,) = run("rollout", "status", "--json").json
    assert (found["version"], found["state"], found["verdict"]["outcome"]) == (
        rollout.ref,
        "shadow",
        "cannot_tell",
    )
    assert run("rollout", "pause", MODEL, "--reason", "lunch", "--json").json["paused"] is True
    assert run("rollout", "resume", MODEL, "--reason", "back", "--json").json["paused"] is False
    assert run("rollout", "abort", MODEL, "--reason", "no", "--json").json["state"] == "rejected"
    assert run("rollout", "abort", MODEL, "--reason", "no").code == 2
    assert run("rollout", "status", "unknown").code == 2
    assert run("rollout", "start", rollout.ref, "--reason", "yes", "--json").json["version"] == rollout.ref
    assert run("rollout", "promote", MODEL, "--reason", "sure", "--json").json["state"] == "champion"
    assert len(run("rollout", "list", "--model", MODEL, "--json").json) == 2
    back = run("rollback", MODEL, "--reason", "not sure", "--json").json
    assert (back["version"], back["before"]) == (f"{MODEL}@1", rollout.ref)
    assert run("rollout", "status", MODEL, "--tick", "--json").json[0]["state"] == "champion"
