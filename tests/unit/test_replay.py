"""Stored history under a policy: when it would have fired, what it would have cost and caught."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from mlops_box.monitoring.replay import Evidence, Replay, replay
from mlops_box.project import Retrain

START = datetime(2026, 1, 1, tzinfo=UTC)


def day(number: int, **seen: Any) -> Evidence:
    return Evidence(START + timedelta(days=number), f"w{number}", **seen)


def run(declared: dict[str, Any], evidence: list[Evidence], **options: Any) -> Replay:
    settings = {"since": START, "rows": 1000, "training_s": 60.0} | options
    return replay(Retrain.model_validate(declared), evidence, **settings)


def fired(found: Replay) -> list[tuple[int, str]]:
    return [((firing.at - START).days, firing.trigger) for firing in found.firings]


def test_a_quiet_history_fires_nothing_and_costs_nothing() -> None:
    found = run({"mode": "auto"}, [day(n, drift="fine", quality="fine") for n in range(30)])
    assert (found.firings, found.training_s, found.episodes) == ((), 0.0, ())


def test_the_cooldown_decides_how_often_lasting_drift_fires() -> None:
    history = [day(n, drift="drift") for n in range(10)]
    assert fired(run({"mode": "auto", "cooldown": "1d"}, history)) == [(n, "drift") for n in range(10)]
    week = run({"mode": "auto", "cooldown": "7d"}, history)
    assert fired(week) == [(0, "drift"), (7, "drift")]
    assert week.withheld == {"cooldown": 8}
    assert week.training_s == 120.0


def test_a_loss_that_was_caught_tells_how_late() -> None:
    history = [day(n, quality="loss" if 5 <= n < 9 else "fine") for n in range(20)]
    declared = {"mode": "auto", "cooldown": "1d", "on": ["quality"]}
    (episode,) = run(declared, history).episodes
    assert episode.delay == timedelta(0)
    assert episode.windows == 4
    drift_only = run({"mode": "auto", "on": ["drift"]}, history)
    assert (drift_only.caught, len(drift_only.episodes)) == (0, 1)


def test_firings_outside_every_loss_are_counted_as_needless() -> None:
    history = [day(n, drift="drift" if n in (2, 11) else "fine") for n in range(20)]
    history += [day(n, quality="loss" if n in (11, 12) else "fine") for n in range(20)]
    found = run({"mode": "auto", "cooldown": "1d", "on": ["drift"]}, history)
    assert fired(found) == [(2, "drift"), (11, "drift")]
    assert (found.caught, found.needless) == (1, 1)


def test_quiet_hours_put_a_firing_off_and_newer_evidence_replaces_it() -> None:
    quiet = {"mode": "auto", "cooldown": "1h", "quiet": "22:00-06:00"}
    found = run(quiet, [day(1, drift="drift"), day(3, drift="fine")])
    assert [firing.at for firing in found.firings] == [START + timedelta(days=1, hours=6)]
    calm_again = Evidence(START + timedelta(days=1, hours=1), "w1b", drift="fine")
    assert run(quiet, [day(1, drift="drift"), calm_again, day(3, drift="fine")]).firings == ()


def test_a_budget_is_kept_in_every_week() -> None:
    history = [day(n, drift="drift") for n in range(28)]
    found = run({"mode": "auto", "cooldown": "1d", "budget": "2/week"}, history)
    days = [number for number, _ in fired(found)]
    assert all(sum(start <= number < start + 7 for number in days) <= 2 for start in range(22))
    assert len(days) == 8


def test_rows_age_and_the_calendar_fire_too() -> None:
    history = [day(n, drift="fine", new_rows=1000 + 100 * n) for n in range(40)]
    assert fired(run({"mode": "auto", "on": ["rows:1000"]}, history))[:2] == [(10, "rows"), (20, "rows")]
    assert fired(run({"mode": "auto", "on": ["age:14d"]}, history)) == [(14, "age"), (29, "age")]
    mondays = fired(run({"mode": "auto", "on": ["schedule:0 3 * * 1"]}, history))
    assert mondays == [
        (4, "schedule"),
        (11, "schedule"),
        (18, "schedule"),
        (25, "schedule"),
        (32, "schedule"),
    ]


def test_nothing_to_replay_is_an_empty_replay() -> None:
    assert run({"mode": "auto"}, []).firings == ()
