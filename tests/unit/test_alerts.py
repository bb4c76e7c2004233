"""The life of an alert."""

from __future__ import annotations

from typing import Any

import pytest

from mlops_box.box import Box
from mlops_box.errors import NotFoundError, UsageError
from mlops_box.monitoring.alerts import Raised
from mlops_box.monitoring.policy import DecisionDraft, Trigger
from mlops_box.operations.monitor_alerts import BOX, watch_runs


def sound(box: Box, window: str = "w1", **changes: Any) -> Raised:
    options: dict[str, Any] = {
        "project": "rentals", "model": "bikes", "number": 1, "kind": "drift", "severity": "warning",
        "title": "drift in temp", "finding": {"window": {"starts_at": window}, "effect": 0.5},
    }  # fmt: skip
    return box.alerts.raise_or_update(**(options | changes))


def test_new_evidence_counts_and_the_same_evidence_does_not(box: Box) -> None:
    opened = sound(box)
    assert (opened.change, opened.alert.state, opened.alert.count) == ("opened", "open", 1)
    assert sound(box).change == "known"
    updated = sound(box, "w2", title="drift in temp, hum")
    assert (updated.change, updated.alert.id, updated.alert.count) == ("updated", opened.alert.id, 2)
    assert [alert.title for alert in box.alerts.list()] == ["drift in temp, hum"]


def test_kinds_and_models_alert_apart(box: Box) -> None:
    sound(box)
    sound(box, kind="quality")
    sound(box, model="others")
    assert len(box.alerts.list(state="open")) == 3
    assert len(box.alerts.list(model="bikes")) == 2


def test_an_acknowledged_alert_goes_on_counting_and_resolves(box: Box) -> None:
    alert = sound(box).alert
    assert box.alerts.acknowledge(alert.id[:14], "sensor 3 is being replaced").state == "acknowledged"
    updated = sound(box, "w2").alert
    assert (updated.state, updated.count, updated.note) == ("acknowledged", 2, "sensor 3 is being replaced")
    resolved = box.alerts.resolve(alert.id, reason="fine again")
    assert resolved.state == "resolved"
    assert resolved.resolved_at is not None
    assert box.alerts.resolve(alert.id, reason="fine again") == box.alerts.get(alert.id)
    assert sound(box, "w3").alert.id != alert.id
    acts = [entry.act for entry in box.ledger.entries(subject=f"alert:{alert.id}")]
    assert acts == ["alert.resolved", "alert.updated", "alert.acknowledged", "alert.opened"]


def test_an_alert_that_a_decision_rests_on_can_still_change(box: Box) -> None:
    alert = sound(box).alert
    trigger = Trigger("drift", "bikes", "rentals", "1:w1", "drift", alert_id=alert.id)
    box.decisions.record(DecisionDraft(trigger, "auto", "pending", "drift", {}))
    assert sound(box, "w2").change == "updated"
    box.alerts.resolve(alert.id, reason="fine")
    assert box.decisions.list()[0].alert_id == alert.id


def test_bad_requests_change_nothing(box: Box) -> None:
    alert = sound(box).alert
    with pytest.raises(UsageError, match="needs a note"):
        box.alerts.acknowledge(alert.id, "  ")
    with pytest.raises(NotFoundError):
        box.alerts.acknowledge("nothing", "note")
    with pytest.raises(NotFoundError):
        box.alerts.get("")
    box.alerts.resolve(alert.id, reason="fine")
    with pytest.raises(UsageError, match="resolved already"):
        box.alerts.acknowledge(alert.id, "note")


def test_a_scheduled_run_that_failed_alerts_until_one_ends_well(box: Box) -> None:
    failed = box.runs.begin("housekeeping", "box", trigger="schedule")
    box.runs.end(failed.id, "failed", error="the disk is full")
    (change,) = watch_runs(box)
    assert (change.change, change.alert.kind, change.alert.model) == ("opened", "pipeline", BOX)
    assert "the disk is full" in change.alert.title
    assert watch_runs(box) == []
    again = box.runs.begin("housekeeping", "box", trigger="schedule")
    assert watch_runs(box) == []
    box.runs.end(again.id, "completed")
    assert [item.change for item in watch_runs(box)] == ["resolved"]


def test_a_run_by_hand_alerts_nobody(box: Box) -> None:
    run = box.runs.begin("housekeeping", "box", trigger="manual")
    box.runs.end(run.id, "failed", error="stopped")
    assert watch_runs(box) == []
