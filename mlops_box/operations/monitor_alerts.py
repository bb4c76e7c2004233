"""From findings to alerts: the newest judged window of the champion opens, updates or resolves them.

This looks at what is stored, not at what a run has just computed, so a run that was killed in between loses no alert.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlops_box.box import Box
from mlops_box.clock import isoformat
from mlops_box.data.store import Refusal
from mlops_box.monitoring.alerts import AlertChange, AlertKind, Severity
from mlops_box.monitoring.budget import PAGE_OF
from mlops_box.monitoring.rate import RateFinding
from mlops_box.monitoring.values import Window
from mlops_box.operations.monitor_reference import limits_of
from mlops_box.operations.monitor_windows import Watched
from mlops_box.runs import Run

BOX = "(box)"  # the model named by alerts about runs that belong to no model
_HISTORY = 500


@dataclass(frozen=True)
class _Evidence:
    """A reason to alert."""

    severity: Severity
    title: str
    finding: dict[str, Any]


def update_alerts(box: Box, watched: Watched, rate: RateFinding) -> list[AlertChange]:
    """Bring the alerts of one model up to what its windows, its traffic and its batches say."""
    windows = box.windows.list(watched.model, number=watched.champion.number, limit=_HISTORY)
    changes: list[AlertChange] = []
    page_at = limits_of(watched.monitor).page_at
    judges: list[tuple[AlertKind, Callable[[Window], str], Callable[[list[Window]], _Evidence]]] = [
        ("drift", _drift_outcome, lambda judged: _drift_evidence(judged, page_at)),
        ("quality", lambda window: window.quality.outcome if window.quality else "cannot_tell", _quality_evidence),
    ]  # fmt: skip
    for kind, outcome, evidence in judges:
        judged = [window for window in windows if outcome(window) != "cannot_tell"]
        if not judged:
            continue
        bad = evidence(judged) if outcome(judged[0]) != "fine" else None
        changes += _apply(box, watched, kind, bad, calm=_calm(box, watched, kind, judged[0]))
    return changes + _data_alert(box, watched, windows, rate)


def watch_runs(box: Box) -> list[AlertChange]:
    """Alert when the newest scheduled or automatic run of a kind failed or crashed; resolve when one ended well.

    Flows may call this at any time; it looks at box.db only.
    """
    failing: dict[str, list[Run]] = {}
    for run in _newest_runs(box):
        failing.setdefault(run.project, [])
        if run.state in ("failed", "crashed"):
            failing[run.project].append(run)
    changes: list[AlertChange] = []
    registered = {project.name: project.model_name for project in box.projects.list()}
    for project, runs in sorted(failing.items()):
        model = registered.get(project, BOX)
        if model == BOX and project not in ("all", "box"):
            continue
        changes += _pipeline_alert(box, project, model, runs)
    return changes


def _drift_outcome(window: Window) -> str:
    """Values that drifted; missing values and broken sensors are a matter of the data, and another alert."""
    if window.drift.outcome == "drift" and not window.drift.drifted and not window.drift.joint_drift:
        return "fine"
    return window.drift.outcome


def _drift_evidence(judged: list[Window], page_at: int) -> _Evidence:
    """The newest window; it is for a person's eyes at once only where enough of the newest ones drifted."""
    window = judged[0]
    drifted = sum(_drift_outcome(item) == "drift" for item in judged[:PAGE_OF])
    names = window.drift.drifted
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    title = f"{window.ref}: drift in {shown or 'the columns together'}"
    if window.drift.uncalibrated:
        title += " (uncalibrated)"
    pages = drifted >= page_at
    persistence = {"drifted": drifted, "of": min(PAGE_OF, len(judged)), "page_at": page_at, "pages": pages}
    finding = _facts(window) | {"drift": window.drift.to_dict(), "persistence": persistence}
    return _Evidence("warning" if pages else "info", title, finding)


def _calm(box: Box, watched: Watched, kind: AlertKind, newest: Window) -> str:
    """Why a standing alert ends: a newer window is fine, or the one it rests on was revised."""
    standing = box.alerts.unresolved(watched.model, kind)
    if standing is not None and standing.finding.get("window", {}).get("key") == newest.key:
        return f"window {newest.key} was revised and is fine"
    return f"window {newest.key} is fine"


def _quality_evidence(judged: list[Window]) -> _Evidence:
    window = judged[0]
    assert window.quality is not None
    title = f"{window.ref}: {window.quality.reason}"
    return _Evidence("error", title, _facts(window) | {"quality": window.quality.to_dict()})


def _facts(window: Window) -> dict[str, Any]:
    return {
        "window": {
            "key": window.key, "starts_at": isoformat(window.starts_at), "ends_at": isoformat(window.ends_at),
            "rows": window.rows, "complete": window.summary.get("complete"),
        },
        "estimate": window.estimate.to_dict() if window.estimate else None,
    }  # fmt: skip


def _data_alert(box: Box, watched: Watched, windows: list[Window], rate: RateFinding) -> list[AlertChange]:
    """One alert for what is wrong with the data: in live traffic, in how much of it came, or in the newest batch."""
    newest = next((window for window in windows if window.data.outcome != "cannot_tell"), None)
    refusal = _standing_refusal(box, watched.project)
    standing = box.alerts.unresolved(watched.model, "data")
    parts: list[str] = []
    finding: dict[str, Any] = {}
    if newest is not None and newest.data.outcome == "bad":
        parts.append(newest.data.reason)
        finding |= _facts(newest) | {"data": newest.data.to_dict()}
    if refusal is not None:
        broken = [check.message for check in refusal.verdict.batch_checks if not check.ok]
        parts.append(f"the newest batch was refused: {'; '.join(broken[:2]) or 'see its verdict'}")
        finding["refusal"] = {"id": refusal.id, "at": isoformat(refusal.at), "broken": broken}
    severity: Severity = "error" if parts else "warning" if rate.pages else "info"
    if rate.is_unusual:
        parts.append(f"{rate.reason} from {str(rate.starts_at)[:16].replace('T', ' ')} UTC")
        finding["rate"] = rate.to_dict()
    if parts:
        evidence = _Evidence(severity, f"{watched.model}: {'; '.join(parts)}", finding)
        return _apply(box, watched, "data", evidence, calm="")
    if standing is not None and "rate" in standing.finding and rate.outcome == "cannot_tell":
        return []  # Not to know is not to be fine.
    judged = newest is not None or standing is not None
    return _apply(box, watched, "data", None, calm="the data are whole again") if judged else []


def _standing_refusal(box: Box, project: str) -> Refusal | None:
    """The newest refused batch, unless a good one came after it."""
    refusals = box.snapshots.refusals(project, limit=1)
    if not refusals:
        return None
    checks = box.runs.list(project=project, state="completed", limit=20)
    good = [run.ended_at for run in checks if run.kind in ("check", "train") and run.ended_at]
    latest = box.snapshots.latest(project)
    if latest is not None:
        good.append(latest.created_at)
    return refusals[0] if all(moment < refusals[0].at for moment in good) else None


def _apply(
    box: Box, watched: Watched, kind: AlertKind, evidence: _Evidence | None, *, calm: str
) -> list[AlertChange]:
    if evidence is None:
        standing = box.alerts.unresolved(watched.model, kind)
        if standing is None:
            return []
        return [AlertChange("resolved", box.alerts.resolve(standing.id, reason=calm))]
    raised = box.alerts.raise_or_update(
        project=watched.project,
        model=watched.model,
        number=watched.champion.number,
        kind=kind,
        severity=evidence.severity,
        title=evidence.title,
        finding=evidence.finding,
    )
    return [] if raised.change == "known" else [AlertChange(raised.change, raised.alert)]


def _newest_runs(box: Box) -> list[Run]:
    """The newest ended run of each project and kind, where it was not started by hand."""
    rows = box.db.read(
        "SELECT id, MAX(started_at) FROM runs WHERE state <> 'running' AND trigger <> 'manual' "
        "GROUP BY project, kind ORDER BY project, kind"
    )
    return [box.runs.get(row["id"]) for row in rows]


def _pipeline_alert(box: Box, project: str, model: str, runs: list[Run]) -> list[AlertChange]:
    if not runs:
        standing = box.alerts.unresolved(model, "pipeline")
        if standing is None or standing.project != project:
            return []
        return [AlertChange("resolved", box.alerts.resolve(standing.id, reason="the newest runs ended well"))]
    named = "; ".join(f"{run.kind} {run.state}: {(run.error or 'no message')[:200]}" for run in runs)
    raised = box.alerts.raise_or_update(
        project=project,
        model=model,
        number=None,
        kind="pipeline",
        severity="error",
        title=f"{project}: {named}",
        finding={"runs": [{"id": run.id, "kind": run.kind, "state": run.state} for run in runs]},
    )
    return [] if raised.change == "known" else [AlertChange(raised.change, raised.alert)]
