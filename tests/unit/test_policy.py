"""The policy as a table: what was seen, what is declared, what came before -> what is decided."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from mlops_box.box import Box
from mlops_box.clock import isoformat
from mlops_box.errors import NotFoundError, UsageError
from mlops_box.monitoring.policy import DecisionDraft, History, Trigger, decide
from mlops_box.project import Retrain

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def trigger(
    name: Any = "drift", *, evidence: str = "1:2026-03-01T11:00:00.000Z", amount: float | None = None
) -> Trigger:
    return Trigger(name, "bikes", "bike-rentals", evidence, "bikes@1: drift in temp", amount=amount)


DAY_S = 86400.0


def issued(*days_ago: float) -> History:
    return History(issued_at=tuple(NOW - timedelta(days=days) for days in days_ago))


def ago(**by: float) -> History:
    return History(issued_at=(NOW - timedelta(**by),))


@pytest.mark.parametrize(
    ("declared", "seen", "history", "state", "because"),
    [
        ({"mode": "auto"}, trigger(), History(), "pending", "drift in temp"),
        ({"mode": "auto"}, trigger("quality"), History(), "pending", "drift in temp"),
        ({"mode": "suggest"}, trigger(), History(), "suggested", "drift in temp"),
        ({"mode": "off"}, trigger(), History(), "withheld", "mode is off"),
        ({"mode": "auto", "on": ["quality"]}, trigger(), History(), "withheld", "drift is not in"),
        ({"mode": "auto", "on": []}, trigger("quality"), History(), "withheld", "quality is not in"),
        ({"mode": "auto", "on": ["rows:50"]}, trigger("rows", amount=49), History(), "withheld", "49 new rows"),
        ({"mode": "auto", "on": ["rows:50"]}, trigger("rows", amount=50), History(), "pending", "drift in temp"),
        ({"mode": "auto"}, trigger("rows", amount=50), History(), "withheld", "rows is not in"),
        ({"mode": "auto", "cooldown": "12h"}, trigger(), ago(hours=11), "withheld", "cooldown is 12h00m"),
        ({"mode": "auto", "cooldown": "12h"}, trigger(), ago(hours=12), "pending", "drift in temp"),
        ({"mode": "suggest", "cooldown": "12h"}, trigger(), ago(hours=1), "withheld", "cooldown"),
        ({"mode": "auto"}, trigger(), History(under_way="d1"), "withheld", "under way (decision d1)"),
        ({"mode": "suggest"}, trigger(), History(suggested="d2"), "withheld", "suggestion d2 waits"),
        ({"mode": "auto"}, trigger(), History(suggested="d2"), "pending", "drift in temp"),
        ({"mode": "off", "modes": {"drift": "auto"}}, trigger(), History(), "pending", "drift in temp"),
        ({"mode": "auto", "modes": {"drift": "off"}}, trigger(), History(), "withheld", "off for drift"),
        ({"mode": "auto", "modes": {"quality": "off"}}, trigger(), History(), "pending", "drift in temp"),
        ({"mode": "auto", "on": ["age:30d"]}, trigger("age", amount=29 * DAY_S), History(), "withheld", "29d00h old"),
        ({"mode": "auto", "on": ["age:30d"]}, trigger("age", amount=30 * DAY_S), History(), "pending", "temp"),
        ({"mode": "auto", "on": ["drift"]}, trigger("age", amount=30 * DAY_S), History(), "withheld", "age is not in"),
        ({"mode": "auto", "on": ["schedule:0 3 * * 1"]}, trigger("schedule"), History(), "pending", "temp"),
        ({"mode": "auto"}, trigger("schedule"), History(), "withheld", "schedule is not in"),
        ({"mode": "auto", "budget": "2/week"}, trigger(), issued(1, 6), "withheld", "budget of 2/week is spent"),
        ({"mode": "suggest", "budget": "2/week"}, trigger(), issued(1, 6), "withheld", "budget of 2/week is spent"),
        ({"mode": "auto", "budget": "2/week"}, trigger(), issued(1, 8), "pending", "temp"),
        ({"mode": "auto", "quiet": "11:00-13:00"}, trigger(), History(), "withheld", "quiet hours are 11:00-13:00"),
        ({"mode": "auto", "quiet": "22:00-12:01"}, trigger(), History(), "withheld", "quiet hours"),
        ({"mode": "auto", "quiet": "22:00-12:00"}, trigger(), History(), "pending", "temp"),
        ({"mode": "suggest", "quiet": "11:00-13:00"}, trigger(), History(), "suggested", "temp"),
    ],
)  # fmt: skip
def test_the_policy(
    declared: dict[str, Any], seen: Trigger, history: History, state: str, because: str
) -> None:
    draft = decide(Retrain.model_validate(declared), seen, history, NOW)
    assert draft.state == state
    assert because in draft.reason
    assert draft.facts["otherwise"]
    assert draft.facts["seen"] == seen.text


def test_what_a_broken_sensor_shows_is_not_learnt() -> None:
    seen = replace(trigger("quality"), broken="temp is stuck at 21.5")
    for mode in ("auto", "suggest"):
        draft = decide(Retrain.model_validate({"mode": mode}), seen, History(), NOW)
        assert draft.state == "withheld"
        assert "temp is stuck at 21.5" in draft.reason


def test_what_may_pass_is_waited_for() -> None:
    seen = replace(trigger(), passing="1 of the newest 3 windows drifted, 2 are needed")
    draft = decide(Retrain.model_validate({"mode": "auto"}), seen, History(), NOW)
    assert draft.state == "withheld"
    assert "2 are needed" in draft.reason


def test_a_cooldown_says_until_when() -> None:
    draft = decide(Retrain.model_validate({"mode": "auto", "cooldown": "12h"}), trigger(), ago(hours=11), NOW)
    assert draft.facts["cooldown_until"] == "2026-03-01T13:00:00.000Z"
    assert "2026-03-01T13:00:00.000Z" in draft.facts["otherwise"]


def test_a_spent_budget_says_when_it_is_free_again() -> None:
    policy = Retrain.model_validate({"mode": "auto", "budget": "2/week"})
    draft = decide(policy, trigger(), issued(1, 3, 6), NOW)
    free = NOW - timedelta(days=3) + timedelta(days=7)
    assert draft.facts["budget_until"] == isoformat(free)
    assert decide(policy, trigger(), issued(1, 3, 6), free).state == "pending"
    assert decide(policy, trigger(), issued(1, 3, 6), free - timedelta(seconds=1)).state == "withheld"


@pytest.mark.parametrize(
    ("now", "until"),
    [("23:30", "2026-03-02T06:00"), ("05:59", "2026-03-01T06:00"), ("06:00", None), ("21:59", None)],
)
def test_quiet_hours_may_pass_midnight(now: str, until: str | None) -> None:
    policy = Retrain.model_validate({"quiet": "22:00-06:00"})
    moment = datetime.fromisoformat(f"2026-03-01T{now}:00+00:00")
    expected = datetime.fromisoformat(f"{until}:00+00:00") if until else None
    assert policy.quiet_until(moment) == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("on", ["age:soon"]), ("on", ["age:0d"]), ("on", ["rows:0"]), ("on", ["schedule:often"]), ("on", ["drift:1"]),
        ("budget", "many"), ("budget", "0/week"), ("quiet", "22-6"), ("quiet", "06:00-06:00"), ("window", "sliding:0d"),
        ("window", "sliding:x"), ("window", "newest"), ("modes", {"weather": "auto"}), ("modes", {"drift": "maybe"}),
    ],
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        Retrain.model_validate({key: value})


def drafted(state: Any, *, evidence: str = "1:a", reason: str = "seen") -> DecisionDraft:
    return DecisionDraft(trigger(evidence=evidence), "auto", state, reason, {"seen": reason})


def test_one_piece_of_evidence_makes_one_decision(box: Box) -> None:
    first = box.decisions.record(drafted("pending"))
    again = box.decisions.record(drafted("pending", reason="seen again"))
    assert again == first
    assert box.decisions.record(drafted("pending", evidence="1:b")).id != first.id
    assert len(box.decisions.list()) == 2


def test_only_a_withheld_decision_is_revised(box: Box) -> None:
    withheld = box.decisions.record(drafted("withheld", reason="cooldown"))
    assert box.decisions.record(drafted("withheld", reason="cooldown still")) == withheld
    acted = box.decisions.record(drafted("pending"))
    assert (acted.id, acted.state) == (withheld.id, "pending")
    assert box.decisions.record(drafted("withheld")).state == "pending"
    acts = [entry.act for entry in box.ledger.entries(subject=f"decision:{acted.id}")]
    assert acts == ["decision.record"] * 2


def test_only_a_suggestion_is_accepted_and_twice_is_once(box: Box) -> None:
    suggestion = box.decisions.record(drafted("suggested"))
    assert box.decisions.accept(suggestion.id[:14]).state == "pending"
    assert box.decisions.accept(suggestion.id).facts["accepted_by"] == "tester"
    box.decisions.mark(suggestion.id, "done", result="completed")
    with pytest.raises(UsageError, match="is done"):
        box.decisions.accept(suggestion.id)
    with pytest.raises(NotFoundError):
        box.decisions.accept("nothing")


def test_history_knows_what_was_issued_what_runs_and_what_waits(box: Box) -> None:
    assert box.decisions.history("bikes") == History()
    suggestion = box.decisions.record(drafted("suggested", evidence="1:a"))
    running = box.decisions.record(drafted("pending", evidence="1:b"))
    box.decisions.mark(running.id, "issued", run_id="r", issued_at="2026-03-01T00:00:00.000Z")
    history = box.decisions.history("bikes")
    assert history == History((datetime(2026, 3, 1, tzinfo=UTC),), running.id, suggestion.id)
    assert box.decisions.history("others") == History()
