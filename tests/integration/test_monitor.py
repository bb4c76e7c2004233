"""The monitor on a model trained, asked and watched for real."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from monitor_case import MODEL, START, Case, rows

from mlops_box.errors import NotFoundError, UnavailableError, UsageError
from mlops_box.operations import monitor_windows
from mlops_box.operations.backtest import backtest
from mlops_box.operations.decide import accept, dispatch_pending
from mlops_box.operations.launch import DirectLauncher
from mlops_box.operations.monitor import monitor
from mlops_box.operations.why import explain


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    made = Case(tmp_path)
    made.train()
    yield made
    made.box.close()


def look(case: Case, **options: Any) -> Any:
    return monitor(case.box, launcher=DirectLauncher(case.box), **options)


def test_usual_traffic_is_fine_and_raises_nothing(case: Case) -> None:
    case.ask(rows(300, seed=2), truth=True)
    outcome = look(case)
    (window,) = outcome.windows
    assert (window.rows, window.rows_with_truth) == (300, 300)
    assert window.drift.outcome == "fine"
    assert window.quality is not None
    assert window.quality.outcome == "fine"
    assert window.data.outcome == "fine"
    assert outcome.alerts == ()
    assert outcome.decisions == ()
    assert not window.summary["complete"]


def test_a_handful_of_rows_is_neither_fine_nor_drift(case: Case) -> None:
    case.ask(rows(20, seed=2, shift=3.0), truth=True)
    (window,) = look(case).windows
    assert window.drift.outcome == "cannot_tell"
    assert window.quality is not None
    assert window.quality.outcome == "cannot_tell"
    assert case.box.alerts.list() == []


def test_shifted_traffic_alerts_retrains_and_the_new_champion_calms_the_alert(case: Case) -> None:
    case.ask(rows(300, seed=3, shift=1.5), truth=True)
    case.write(rows(800, seed=1) + rows(300, seed=3, shift=1.5))
    outcome = look(case)
    (change,) = outcome.alerts
    assert (change.change, change.alert.kind) == ("opened", "drift")
    assert "volume" in change.alert.title
    (decision,) = outcome.decisions
    assert (decision.state, decision.facts["result"], decision.facts["promoted"]) == (
        "done",
        "completed",
        True,
    )
    assert case.box.models.get(MODEL).number == 2
    assert decision.run_id == case.box.models.get(MODEL).run_id

    again = look(case)
    assert (again.windows, again.alerts, again.decisions) == ((), (), ())

    case.ask(rows(219, seed=4) + rows(82, seed=5, shift=1.5), truth=True)
    calm = look(case)
    assert [(item.change, item.alert.kind) for item in calm.alerts] == [("resolved", "drift")]
    assert case.box.ledger.first_broken() is None


def test_a_changed_world_is_a_quality_alert_although_the_features_look_the_same(case: Case) -> None:
    case.ask(rows(300, seed=6, slope=4.0), truth=True)
    outcome = look(case)
    (window,) = outcome.windows
    assert window.drift.outcome == "fine"
    assert window.quality.outcome == "loss"
    assert [item.alert.kind for item in outcome.alerts] == ["quality"]


def test_late_truth_revises_the_window(case: Case) -> None:
    data = rows(200, seed=7, slope=4.0)
    ids = case.ask(data)
    first = look(case).windows[0]
    assert first.quality is None
    case.pass_time(hours=5)
    case.tell(ids[:150], [row["minutes"] for row in data[:150]])
    (revised,) = look(case).windows
    assert revised.starts_at == first.starts_at
    assert (revised.rows, revised.rows_with_truth) == (200, 150)
    assert revised.quality.coverage == 0.75
    assert len(case.box.windows.list(MODEL)) == 1


def test_late_rows_join_their_window(case: Case) -> None:
    case.ask(rows(150, seed=8))
    assert look(case).windows[0].rows == 150
    case.ask(rows(50, seed=9))
    assert look(case).windows[0].rows == 200


def test_windows_follow_the_clock(case: Case) -> None:
    for seed in range(3):
        case.ask(rows(120, seed=seed))
        case.pass_time(hours=1)
    windows = look(case).windows
    assert [window.rows for window in windows] == [120, 120, 120]
    assert {b.starts_at - a.starts_at for a, b in itertools.pairwise(windows)} == {timedelta(hours=1)}
    assert all(window.summary["complete"] for window in windows)


def test_a_sensor_that_fell_silent_is_a_matter_of_the_data_and_retrains_nothing(case: Case) -> None:
    case.ask([row | {"power": None} for row in rows(300, seed=10)])
    outcome = look(case)
    kinds = {item.alert.kind: item.alert for item in outcome.alerts}
    assert "data" in kinds
    assert "power" in kinds["data"].title
    assert {decision.trigger for decision in outcome.decisions} <= {"drift"}


def test_a_crash_between_storing_and_alerting_loses_no_alert(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlops_box.operations.monitor as module

    case.ask(rows(300, seed=3, shift=1.5))
    with monkeypatch.context() as patch:
        patch.setattr(module, "_alert", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError):
            look(case)
    assert case.box.runs.list(kind="monitor")[0].state == "failed"
    assert [item.change for item in look(case).alerts] == ["opened"]


def test_a_retraining_that_its_gates_reject_leaves_the_champion_and_ends_the_decision(case: Case) -> None:
    case.declare('mode = "auto"\ncooldown = "0s"', max_mae=1e-9)
    case.ask(rows(300, seed=3, shift=1.5))
    (decision,) = look(case).decisions
    assert (decision.state, decision.facts["result"]) == ("done", "rejected")
    assert case.box.models.get(MODEL).number == 1
    assert decision.facts["version"] == f"{MODEL}@2"


def test_a_project_that_has_gone_fails_the_decision_and_not_the_monitor(case: Case) -> None:
    (case.folder / "mlops.toml").unlink()
    case.ask(rows(300, seed=3, shift=1.5))
    outcome = look(case)
    assert [decision.state for decision in outcome.decisions] == ["failed"]
    assert case.box.runs.get(outcome.run_id).state == "completed"


def test_an_orchestrator_that_is_down_is_asked_again(case: Case) -> None:
    class Down:
        def train(self, project: str, *, idempotency_key: str, trigger: str) -> str:
            raise UnavailableError("the Prefect API does not answer")

    case.ask(rows(300, seed=3, shift=1.5))
    (decision,) = monitor(case.box, launcher=Down()).decisions
    assert decision.state == "pending"
    assert decision.facts["waiting"]
    assert case.box.decisions.history(MODEL).last_issued_at is None
    (again,) = look(case).decisions
    assert (again.id, again.state) == (decision.id, "done")


def test_a_start_that_always_dies_is_given_up(case: Case) -> None:
    class Dies:
        calls = 0

        def train(self, project: str, *, idempotency_key: str, trigger: str) -> str:
            Dies.calls += 1
            raise KeyboardInterrupt

    case.ask(rows(300, seed=3, shift=1.5))
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            monitor(case.box, launcher=Dies())
    dispatch_pending(case.box, Dies())
    assert [decision.state for decision in case.box.decisions.list()] == ["failed"]
    assert Dies.calls == 3


def test_a_suggestion_waits_for_a_person(tmp_path: Path) -> None:
    case = Case(tmp_path, retrain='mode = "suggest"')
    case.train()
    case.ask(rows(300, seed=3, shift=1.5))
    (decision,) = look(case).decisions
    assert decision.state == "suggested"
    assert case.box.models.get(MODEL).number == 1
    accepted = accept(case.box, decision.id[:12], DirectLauncher(case.box))
    assert (accepted.state, accepted.facts["accepted_by"]) == ("done", "tester")
    assert case.box.models.get(MODEL).number == 2
    case.box.close()


def test_cooldown_withholds_and_the_same_evidence_acts_afterwards(tmp_path: Path) -> None:
    case = Case(tmp_path, retrain='mode = "auto"\ncooldown = "2h"')
    case.train()
    case.ask(rows(300, seed=3, shift=1.5))
    assert [item.state for item in look(case).decisions] == ["done"]
    case.pass_time(hours=1)
    case.ask(rows(300, seed=4, shift=4.0))
    (withheld,) = look(case).decisions
    assert (withheld.state, "cooldown" in withheld.reason) == ("withheld", True)
    case.pass_time(minutes=70)
    (acted,) = look(case).decisions
    assert (acted.id, acted.state) == (withheld.id, "done")
    case.box.close()


def test_new_rows_at_the_source_trigger_where_declared(tmp_path: Path) -> None:
    case = Case(tmp_path, retrain='mode = "auto"\non = ["rows:200"]\ncooldown = "0s"')
    case.train()
    case.write(rows(800, seed=1) + rows(100, seed=2))
    (withheld,) = look(case).decisions
    assert (withheld.state, withheld.reason) == ("withheld", "100 new rows, 200 are declared")
    case.write(rows(800, seed=1) + rows(250, seed=2))
    decided = {item.state for item in look(case).decisions}
    assert decided == {"done"}
    assert case.box.models.get(MODEL).number == 2
    case.box.close()


def test_an_old_champion_is_replaced_where_age_is_declared(tmp_path: Path) -> None:
    case = Case(tmp_path, retrain='mode = "auto"\non = ["age:30d"]')
    case.train()
    case.pass_time(days=29)
    assert look(case).decisions == ()
    case.pass_time(days=1)
    (decision,) = look(case).decisions
    assert (decision.trigger, decision.state) == ("age", "done")
    assert case.box.models.get(MODEL).number == 2
    case.box.close()


def test_the_calendar_retrains_once_a_date_and_not_for_dates_before_the_champion(tmp_path: Path) -> None:
    case = Case(tmp_path, retrain='mode = "auto"\non = ["schedule:0 3 * * 1"]\ncooldown = "0s"')
    case.train()  # a Thursday
    case.pass_time(days=3)
    assert look(case).decisions == ()
    case.pass_time(days=1, hours=3)
    (decision,) = look(case).decisions
    assert (decision.trigger, decision.state) == ("schedule", "done")
    assert "2026-01-05T03:00:00.000Z" in decision.reason
    case.pass_time(days=6)
    assert look(case).decisions == ()
    case.box.close()


def test_quiet_hours_put_off_what_acts_in_the_morning(tmp_path: Path) -> None:
    case = Case(tmp_path, retrain='mode = "auto"\nquiet = "22:00-06:00"\ncooldown = "0s"')
    case.train()
    case.ask(rows(300, seed=3, shift=1.5))
    withheld = look(case).decisions
    assert {item.state for item in withheld} == {"withheld"}
    assert all("quiet hours" in item.reason for item in withheld)
    case.pass_time(hours=6)
    assert {item.state for item in look(case).decisions} == {"done"}
    case.box.close()


def test_a_decision_knows_since_when_the_drift_lasts(case: Case) -> None:
    for shift in (0.0, 1.5, 1.5):
        case.ask(rows(300, seed=3, shift=shift))
        case.pass_time(hours=1)
    case.declare('mode = "suggest"')
    (decision,) = look(case).decisions
    assert decision.facts["since"] == "2026-01-01T01:00:00.000Z"


def test_old_versions_are_measured_against_their_own_reference_and_alert_nobody(case: Case) -> None:
    case.write(rows(800, seed=1, shift=3.0))
    case.train()
    case.ask(rows(200, seed=2), ref=f"{MODEL}@1")
    (window,) = look(case).windows
    assert (window.number, window.drift.outcome) == (1, "fine")
    assert case.box.alerts.list() == []


def test_an_unknown_model_is_named(case: Case) -> None:
    with pytest.raises(NotFoundError, match="nothing"):
        monitor(case.box, model="nothing")


def test_explanations_hold_the_numbers_and_what_would_have_changed_them(case: Case) -> None:
    ids = case.ask(rows(300, seed=3, shift=1.5), truth=True)
    case.write(rows(800, seed=1) + rows(300, seed=3, shift=1.5))
    outcome = look(case)
    alert, decision = outcome.alerts[0].alert, outcome.decisions[0]
    text = "\n".join(explain(case.box, alert.id).lines)
    assert "volume" in text
    assert "KS" in text
    assert "would" in text
    assert f"{MODEL}@2" in "\n".join(explain(case.box, decision.id).lines)
    version = "\n".join(explain(case.box, f"{MODEL}@2").lines)
    assert "drift" in version
    assert case.box.models.get(f"{MODEL}@2").snapshot_id[:12] in version
    prediction = "\n".join(explain(case.box, ids[0]).lines)
    assert f"{MODEL}@1" in prediction
    assert case.box.models.get(f"{MODEL}@1").snapshot_id[:12] in prediction
    assert "tester" in prediction
    assert "drift" in "\n".join(explain(case.box, decision.run_id or "").lines)
    snapshot = case.box.models.get(MODEL).snapshot_id
    assert f"{MODEL}@2" in "\n".join(explain(case.box, snapshot).lines)
    with pytest.raises(NotFoundError):
        explain(case.box, "zzzzzz")


def test_shadow_answers_are_not_traffic() -> None:
    import pyarrow as pa

    at = pa.array([0, 0], pa.timestamp("us", tz="UTC"))
    table = pa.table(
        {
            "id": ["a" * 22 + "-00000000", "a" * 22 + "-00000001"],
            "event_time": at,
            "number": pa.array([1, 1], pa.int32()),
            "variant": ["champion", "shadow"],
        }
    )
    ((key, found),) = monitor_windows._split(table, timedelta(hours=1), ["a" * 22], [])
    assert (key[0], found.num_rows) == (1, 1)


def test_a_backtest_replays_what_was_seen_under_a_changed_policy(case: Case) -> None:
    case.declare('mode = "suggest"\ncooldown = "30d"')
    for hour in range(6):
        case.ask(
            rows(300, seed=hour, shift=0.0 if hour < 3 else 1.5, slope=2.0 if hour < 4 else 4.0), truth=True
        )
        case.pass_time(hours=1)
    look(case)
    before = case.box.ledger.head()
    found = backtest(case.box, MODEL, changes=["retrain.cooldown=1h", "retrain.mode=auto"])
    assert found.windows == 6
    assert len(found.declared.firings) == 1
    assert found.declared.withheld.keys() == {"cooldown"}
    assert found.changed is not None
    assert len(found.changed.firings) >= 3
    assert found.changed.caught == 1
    assert (found.trainings, found.training_s) == (1, 0.0), "this clock stands still while one trains"
    strict = backtest(case.box, MODEL, changes=["monitor.effect=0.999", "monitor.quality=900"]).changed
    assert strict is not None
    assert strict.firings == ()
    later = backtest(case.box, MODEL, since=START + timedelta(hours=4))
    assert later.windows == 2
    assert case.box.ledger.head() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cooldown=1d", "changes nothing that is known"), ("retrain.cooldwn=1d", "changes nothing"),
        ("retrain.cooldown", "changes nothing"), ("retrain.cooldown=soon", "retrain.cooldown"),
        ("monitor.window=1d", "cannot be changed afterwards"), ("model.target=x", "changes nothing"),
    ],
)  # fmt: skip
def test_a_change_that_is_none_is_refused(case: Case, change: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        backtest(case.box, MODEL, changes=[change])


def test_nothing_to_replay_is_said(case: Case) -> None:
    with pytest.raises(NotFoundError, match="no monitored window"):
        backtest(case.box, MODEL)
    with pytest.raises(NotFoundError, match="no project"):
        backtest(case.box, "nothing")
