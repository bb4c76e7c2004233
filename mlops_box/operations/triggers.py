"""What asks for a retraining of a model now: alerts, new rows, the champion's age, the calendar."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from mlops_box.box import Box
from mlops_box.clock import isoformat
from mlops_box.errors import BoxError
from mlops_box.monitoring.alerts import Alert
from mlops_box.monitoring.policy import Trigger
from mlops_box.monitoring.values import Window
from mlops_box.operations.monitor_windows import Watched
from mlops_box.project import LoadedProject, Retrain
from mlops_box.project.retrain import TriggerName
from mlops_box.units import format_duration

_HISTORY = 500


def triggers(box: Box, watched: Watched) -> list[Trigger]:
    """Every trigger that stands, the most telling first.

    An alert about an earlier version triggers nothing: what it asked for has happened.
    """
    assert watched.declaration is not None
    policy = watched.declaration.retrain
    found = [
        *_alert_triggers(box, watched),
        _rows_trigger(box, watched, policy),
        _age_trigger(box, watched, policy),
        _schedule_trigger(box, watched, policy),
    ]
    return [trigger for trigger in found if trigger is not None]


def began_at(windows: list[Window], kind: TriggerName) -> datetime | None:
    """When what the newest windows show began: the start of the first of the bad ones in a row.

    Args:
        windows: Of one version, newest first. Windows in which nobody can tell neither begin nor end a row.
    """
    begin = None
    for window in windows:
        outcome = window.drift.outcome if kind == "drift" else window.quality and window.quality.outcome
        if outcome in ("drift", "loss"):
            begin = window.starts_at
        elif outcome == "fine":
            break
    return begin


def _alert_triggers(box: Box, watched: Watched) -> list[Trigger]:
    """Of the unresolved alerts about the champion, quality before drift."""
    kinds: tuple[Literal["quality", "drift"], ...] = ("quality", "drift")
    standing = [(kind, box.alerts.unresolved(watched.model, kind)) for kind in kinds]
    alerts = [(kind, one) for kind, one in standing if one and one.number == watched.champion.number]
    if not alerts:
        return []
    windows = box.windows.list(watched.model, number=watched.champion.number, limit=_HISTORY)
    return [
        Trigger(
            kind, watched.model, watched.project, _evidence(alert), alert.title,
            alert_id=alert.id, since=began_at(windows, kind), broken=_broken(alert, windows),
            passing=_passing(alert),
        )
        for kind, alert in alerts
    ]  # fmt: skip


def _broken(alert: Alert, windows: list[Window]) -> str | None:
    """What was wrong with the data of the window that the alert rests on."""
    window = next((one for one in windows if one.key == alert.finding["window"]["key"]), None)
    return window.data.reason if window is not None and window.data.outcome == "bad" else None


def _passing(alert: Alert) -> str | None:
    """Drift in one window is noted; a page, and a retraining, take as many as the monitor's budget asks for."""
    held = alert.finding.get("persistence")
    if held is None or held["pages"]:
        return None
    return f"{held['drifted']} of the newest {held['of']} windows drifted, {held['page_at']} are needed"


def _evidence(alert: Alert) -> str:
    return f"{alert.number}:{alert.finding['window']['starts_at']}"


def _rows_trigger(box: Box, watched: Watched, policy: Retrain) -> Trigger | None:
    """New rows at the source since the champion's snapshot; asks the gate only where the policy counts rows."""
    if policy.rows is None:
        return None
    note = _look_at_source(box, watched)
    latest = box.snapshots.latest(watched.project)
    if latest is None or latest.id == watched.champion.snapshot_id:
        return None
    new = latest.rows - box.snapshots.get(watched.champion.snapshot_id).rows
    if new <= 0:
        return None
    return Trigger(
        "rows", watched.model, watched.project, f"{watched.champion.number}:{latest.id[:16]}",
        f"{new} new rows since {watched.champion.ref} was trained{note}", amount=new,
    )  # fmt: skip


def _age_trigger(box: Box, watched: Watched, policy: Retrain) -> Trigger | None:
    if policy.age is None:
        return None
    age = box.clock.now() - watched.champion.created_at
    periods = age // policy.age
    if periods < 1:
        return None
    # A period more is new evidence: a retraining whose version was rejected is tried again then.
    return Trigger(
        "age", watched.model, watched.project, f"{watched.champion.number}:age{periods}",
        f"{watched.champion.ref} is {format_duration(age.total_seconds())} old", amount=age.total_seconds(),
    )  # fmt: skip


def _schedule_trigger(box: Box, watched: Watched, policy: Retrain) -> Trigger | None:
    """The newest time of the calendar that has come since the champion was made and the last retraining."""
    if not policy.crons:
        return None
    since = max([watched.champion.created_at, *box.decisions.history(watched.model).issued_at[:1]])
    ticks = [tick for cron in policy.crons if (tick := _last_tick(cron, box.clock.now())) and tick > since]
    if not ticks:
        return None
    at = isoformat(max(ticks))
    return Trigger("schedule", watched.model, watched.project, at, f"it was due at {at}")


def _last_tick(cron: str, now: datetime) -> datetime | None:
    from cronsim import CronSim

    # Going back it begins before the moment it is given; this minute counts.
    found: datetime = next(CronSim(cron, now + timedelta(seconds=1), reverse=True))
    return found


def _look_at_source(box: Box, watched: Watched) -> str:
    """Mint a snapshot of what is there now; a source that cannot be read is told, not raised."""
    from mlops_box.operations.check import take_snapshot

    registered = box.projects.for_model(watched.model)
    if registered is None:
        return ""
    try:
        take_snapshot(box, LoadedProject(registered.folder, registered.declaration))
    except BoxError as error:
        return f" (counted up to the newest snapshot; the source now: {error.message})"
    return ""
