"""Watch what is served: seal, profile, compare, alert, decide, act."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_box.box import Box
from mlops_box.clock import isoformat
from mlops_box.monitoring.alerts import AlertChange
from mlops_box.monitoring.decisions import Decision
from mlops_box.monitoring.rate import RateFinding
from mlops_box.monitoring.values import EstimateFinding, Finding, QualityFinding, Window
from mlops_box.operations.decide import decide_for, dispatch_pending, settle
from mlops_box.operations.edge.device_alerts import watch_devices
from mlops_box.operations.features.parity_watch import watch_parity
from mlops_box.operations.launch import Launcher
from mlops_box.operations.monitor_alerts import update_alerts, watch_runs
from mlops_box.operations.monitor_rate import judge_traffic
from mlops_box.operations.monitor_reference import References
from mlops_box.operations.monitor_windows import (
    Due,
    Measured,
    Watched,
    assemble,
    judge_drift,
    judge_estimate,
    judge_quality,
    measure,
)
from mlops_box.operations.notify import notify
from mlops_box.operations.rollout import advance
from mlops_box.operations.steps import Steps, recorded_run
from mlops_box.progress import Progress
from mlops_box.runs import Run

ROTATION_TIMEOUT_S = 5.0
_ALL = "all"


@dataclass(frozen=True)
class MonitorOutcome:
    """What one run found and did.

    Attributes:
        rotated: Every serving process closed its segment in time; if not, its newest predictions come next time.
        sealed_rows: Rows of the prediction log that became Parquet now.
        windows: Windows computed now, in order of time.
        rates: By model: did as many rows come as usual?
        alerts: Alerts opened, updated or resolved now.
        decisions: Decisions made, started or closed now, as they stand at the end.
    """

    run_id: str
    models: tuple[str, ...]
    rotated: bool
    sealed_rows: int
    windows: tuple[Window, ...]
    rates: dict[str, RateFinding]
    alerts: tuple[AlertChange, ...]
    decisions: tuple[Decision, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "models": list(self.models),
            "rotated": self.rotated,
            "sealed_rows": self.sealed_rows,
            "windows": [_window_line(window) for window in self.windows],
            "rates": {model: rate.to_dict() for model, rate in self.rates.items()},
            "alerts": [
                {
                    "change": item.change, "id": item.alert.id, "kind": item.alert.kind, "model": item.alert.model,
                    "state": item.alert.state, "title": item.alert.title, "count": item.alert.count,
                }
                for item in self.alerts
            ],
            "decisions": [
                {
                    "id": item.id, "model": item.model, "trigger": item.trigger, "state": item.state,
                    "reason": item.reason, "run_id": item.run_id, "result": item.facts.get("result"),
                    "version": item.facts.get("version"),
                }
                for item in self.decisions
            ],
        }  # fmt: skip


def monitor(
    box: Box,
    *,
    model: str | None = None,
    launcher: Launcher | None = None,
    steps: Steps | None = None,
    progress: Progress | None = None,
    trigger: str = "manual",
    flow_run_id: str | None = None,
) -> MonitorOutcome:
    """Look at every model with a champion, or at one; every step is idempotent and may be interrupted.

    The newest window is judged although it is still open, as soon as it has the declared number of rows. Windows of
    earlier versions are judged against their own reference; only the champion's raise alerts.

    Args:
        launcher: Starts the trainings that are decided; ``None`` leaves them pending.

    Raises:
        NotFoundError: The named model does not exist or has no champion.
    """
    watched = _watched(box, model)
    with recorded_run(
        box,
        "monitor",
        watched[0].project if len(watched) == 1 else _ALL,
        trigger=trigger,
        params={"model": model},
        flow_run_id=flow_run_id,
        steps=steps,
        progress=progress,
    ) as (run, recorded):
        references = References(box)
        rotated = recorded.run("rotate", box.predictions.request_rotation, ROTATION_TIMEOUT_S)
        sealed = recorded.run("seal", box.predictions.seal, retries=2)
        dues = recorded.run("profile", _measure_all, box, watched, references, recorded.progress)
        findings = recorded.run("drift", _judge_all, dues, references)
        qualities = recorded.run("quality", _quality_all, box, dues)
        estimates = [judge_estimate(item, references) for item in _measured(dues)]
        windows = recorded.run("store", _store, box, dues, findings, qualities, estimates, retries=2)
        rates = {item.model: judge_traffic(box, item) for item in watched}
        parity = recorded.run("parity", _watch_parity, box, watched)
        alerts = recorded.run("alert", _alert, box, watched, rates, retries=2) + parity
        decided = recorded.run("decide", _decide, box, watched, retries=2)
        acted = recorded.run("act", _act, box, launcher)
        recorded.run("rollout", advance, box, retries=2)
        recorded.run("notify", notify, box)
        outcome = MonitorOutcome(
            run.id,
            tuple(item.model for item in watched),
            rotated,
            sum(segment.rows for segment in sealed),
            windows,
            rates,
            alerts,
            _final(box, [*decided, *acted]),
        )
        _close(box, run, outcome)
    return outcome


def _watched(box: Box, model: str | None) -> list[Watched]:
    champions = [box.models.get(model)] if model else list(box.models.champions().values())
    found = []
    for champion in champions:
        registered = box.projects.for_model(champion.model)
        found.append(Watched(champion, registered.declaration if registered else None))
    return found


def _measure_all(
    box: Box, watched: Sequence[Watched], references: References, progress: Progress
) -> list[Due]:
    dues = []
    for item in watched:
        dues.append(measure(box, item, references))
        progress.advance(note=item.model)
    return dues


def _judge_all(dues: Sequence[Due], references: References) -> list[Finding]:
    return [judge_drift(item, references) for item in _measured(dues)]


def _quality_all(box: Box, dues: Sequence[Due]) -> list[QualityFinding | None]:
    return [judge_quality(box, item) for item in _measured(dues)]


def _store(
    box: Box,
    dues: Sequence[Due],
    findings: Sequence[Finding],
    qualities: Sequence[QualityFinding | None],
    estimates: Sequence[EstimateFinding | None],
) -> tuple[Window, ...]:
    """Windows, and the note of what they account for, in one transaction."""
    windows = [
        assemble(box, *parts) for parts in zip(_measured(dues), findings, qualities, estimates, strict=True)
    ]
    accounted = [part for due in dues for part in due.accounted]
    devices = [item for due in dues for item in due.devices]
    if windows or accounted or devices:
        box.windows.put(windows, accounted=accounted, devices=devices)
    return tuple(window for window in windows if window.rows)


def _alert(box: Box, watched: Sequence[Watched], rates: Mapping[str, RateFinding]) -> tuple[AlertChange, ...]:
    changes = [AlertChange("opened", alert) for alert in box.alerts.wake()]
    changes += [change for item in watched for change in update_alerts(box, item, rates[item.model])]
    return tuple(changes + watch_runs(box) + watch_devices(box))


def _watch_parity(box: Box, watched: Sequence[Watched]) -> tuple[AlertChange, ...]:
    return tuple(change for item in watched for change in watch_parity(box, item))


def _decide(box: Box, watched: Sequence[Watched]) -> list[Decision]:
    settled = settle(box)
    return [*settled, *(decision for item in watched for decision in decide_for(box, item))]


def _act(box: Box, launcher: Launcher | None) -> list[Decision]:
    return list(dispatch_pending(box, launcher).decisions) if launcher is not None else []


def _measured(dues: Sequence[Due]) -> list[Measured]:
    return [item for due in dues for item in due.measured]


def _final(box: Box, decisions: Sequence[Decision]) -> tuple[Decision, ...]:
    """Each decision once, as it stands now."""
    return tuple(box.decisions.get(id_) for id_ in dict.fromkeys(item.id for item in decisions))


def _close(box: Box, run: Run, outcome: MonitorOutcome) -> None:
    result = {
        "windows": len(outcome.windows),
        "sealed_rows": outcome.sealed_rows,
        "alerts": [f"{item.change}:{item.alert.id}" for item in outcome.alerts],
        "decisions": [f"{item.state}:{item.id}" for item in outcome.decisions],
    }
    box.runs.end(run.id, "completed", result=result)


def _window_line(window: Window) -> dict[str, Any]:
    return {
        "version": window.ref, "starts_at": isoformat(window.starts_at), "ends_at": isoformat(window.ends_at),
        "rows": window.rows, "drift": window.drift.outcome, "drifted": list(window.drift.drifted),
        "calibrated": window.drift.calibrated, "uncalibrated": window.drift.uncalibrated,
        "together": window.drift.joint_drift, "broken": list(window.data.faults),
        "estimate": window.estimate.to_dict() if window.estimate else None,
        "data_reason": window.data.reason if window.data.outcome == "bad" else None,
        "quality": window.quality.outcome if window.quality else "cannot_tell",
        "rows_with_truth": window.rows_with_truth, "data": window.data.outcome, "reason": window.drift.reason,
    }  # fmt: skip
