"""Why a version is what it is and serves or not; where runs, snapshots and predictions come from."""

from __future__ import annotations

from typing import Any

from mlops_box.box import Box
from mlops_box.clock import isoformat
from mlops_box.errors import NotFoundError
from mlops_box.models.values import GateResult, ModelVersion
from mlops_box.monitoring.windows import window_start
from mlops_box.operations.edge.carried_out import carried_out
from mlops_box.operations.explanation import Explanation
from mlops_box.operations.features.parity_gate import parity_block
from mlops_box.runs import Run

_SHORT = 12


def explain_version(box: Box, ref: str) -> Explanation:
    """What a version was made of, which gates judged it, whether it serves, and who let it in."""
    version = box.models.get(ref)
    aliases = [
        alias for alias, number in box.models.aliases(version.model).items() if number == version.number
    ]
    cause = _cause(box, version.run_id)
    lines = [
        f"{version.ref}: {version.state}{', ' + ', '.join(aliases) if aliases else ''}",
        "made of",
        f"  snapshot {version.snapshot_id[:_SHORT]}{_snapshot_text(box, version)}",
        f"  run {version.run_id or '-'} by {version.created_by}, {isoformat(version.created_at)}{cause}",
        "gates",
        *(f"  {_gate_text(gate)}" for gate in version.gates),
        "let in",
        *(f"  {line}" for line in _let_in(box, version, aliases)),
        "what would have changed it",
        *(f"  {line}" for line in _version_otherwise(version)),
        *_watched(box, version),
        *_bundles(box, version),
    ]
    facts = {
        "version": version.ref, "state": version.state, "aliases": aliases, "metrics": version.metrics,
        "gates": [gate.__dict__ for gate in version.gates], "snapshot_id": version.snapshot_id,
        "run_id": version.run_id, "lineage": version.lineage,
    }  # fmt: skip
    return Explanation("version", version.ref, tuple(lines), facts)


def explain_run(box: Box, run_id: str) -> Explanation:
    """Who asked for a run, how it ended and where, and what came of it."""
    run = box.runs.get(run_id)
    steps = box.runs.steps(run.id)
    ended = f", ended {isoformat(run.ended_at)}" if run.ended_at else ""
    lines = [
        f"run {run.id}: {run.kind} of {run.project}, {run.state}",
        f"  started {isoformat(run.started_at)}{ended}",
        "asked for by",
        f"  {run.trigger}{_cause(box, run.id)}",
        "steps",
        *(f"  {step.name}: {step.state}{': ' + step.detail if step.detail else ''}" for step in steps),
    ]
    if run.error:
        lines += ["reason", f"  {run.error}"]
    version = box.models.for_run(run.id)
    if version is not None:
        lines += ["result", f"  {version.ref}, {version.state}: mlops-box why {version.ref}"]
    lines += ["what would have changed it", f"  {_run_otherwise(run)}"]
    facts = {"run": run.to_dict(), "version": version.ref if version else None}
    return Explanation("run", run.id, tuple(lines), facts)


def explain_snapshot(box: Box, snapshot_id: str) -> Explanation:
    """What the contract said of a batch, where it came from, and which versions learnt from it."""
    snapshot = box.snapshots.get(snapshot_id)
    verdict = snapshot.verdict
    used = [version.ref for version in box.models.list(limit=10_000) if version.snapshot_id == snapshot.id]
    lines = [
        f"snapshot {snapshot.id[:_SHORT]} of {snapshot.project}: {snapshot.rows} rows, {isoformat(snapshot.created_at)}",
        f"  {verdict.rows_in} rows in = {verdict.rows_good} good + {verdict.rows_quarantined} in quarantine "
        f"+ {verdict.rows_rejected} unreadable",
        "contract",
        *(f"  {'passed' if check.ok else 'broken'}: {check.message}" for check in verdict.batch_checks),
        *(f"  {hit.rule}: {hit.rows} rows to quarantine" for hit in verdict.row_rules),
        "learnt from it",
        f"  {', '.join(used) if used else 'no version yet'}",
    ]
    facts = {"id": snapshot.id, "project": snapshot.project, "versions": used, "lineage": snapshot.lineage}
    return Explanation("snapshot", snapshot.id, tuple(lines), facts)


def explain_prediction(box: Box, prediction: dict[str, Any]) -> Explanation:
    """Which version answered, trained on what, checked by which gates, let in by whom; and what turned out true."""
    version = box.models.get(f"{prediction['model']}@{prediction['number']}")
    truth = box.predictions.truth(version.model, [prediction["id"]]).to_pylist()
    features = {
        name.removeprefix("feature:"): value
        for name, value in prediction.items()
        if name.startswith("feature:")
    }
    judged = [gate for gate in version.gates if gate.passed]
    aliases = [
        alias for alias, number in box.models.aliases(version.model).items() if number == version.number
    ]
    lines = [
        f"prediction {prediction['id']}: {_answer(prediction)} by {version.ref} at {isoformat(prediction['at'])}",
        f"  asked with {', '.join(f'{name} = {value}' for name, value in features.items())}",
        f"  truth: {truth[0]['truth'] if truth else 'not known yet'}",
        "trained on",
        f"  snapshot {version.snapshot_id[:_SHORT]}{_snapshot_text(box, version)}",
        "checked by",
        *(f"  {_gate_text(gate)}" for gate in judged),
        "let in by",
        *(f"  {line}" for line in _let_in(box, version, aliases)),
        *_window_of(box, version, prediction),
    ]
    facts = {
        "prediction": {key: value for key, value in prediction.items() if key != "probability"},
        "truth": truth[0]["truth"] if truth else None, "version": version.ref, "snapshot_id": version.snapshot_id,
    }  # fmt: skip
    return Explanation("prediction", str(prediction["id"]), tuple(lines), facts)


def _cause(box: Box, run_id: str | None) -> str:
    """Which decision asked for a run."""
    row = (
        box.db.one("SELECT id, trigger, alert_id FROM decisions WHERE run_id = ?", (run_id,))
        if run_id
        else None
    )
    if row is None:
        return ""
    alert = f" on alert {row['alert_id']}" if row["alert_id"] else ""
    return f"; decision {row['id']} ({row['trigger']}{alert}) asked for it"


def _snapshot_text(box: Box, version: ModelVersion) -> str:
    try:
        snapshot = box.snapshots.get(version.snapshot_id)
    except NotFoundError:
        return " (no longer in this box)"
    span = ""
    if snapshot.time_min and snapshot.time_max:
        span = f", {isoformat(snapshot.time_min)} to {isoformat(snapshot.time_max)}"
    return f": {snapshot.rows} rows{span}, {snapshot.verdict.rows_quarantined} in quarantine"


def _gate_text(gate: GateResult) -> str:
    verdict = {True: "passed", False: "failed", None: "not judged"}[gate.passed]
    return f"{verdict}: {gate.name}: {gate.message}"


def _let_in(box: Box, version: ModelVersion, aliases: list[str]) -> list[str]:
    """Every time it became champion: by whom, when, why."""
    lines = [
        f"{isoformat(entry.at)} by {entry.actor}: {entry.facts.get('reason')}"
        + (" (rolled back to)" if entry.act == "model.roll_back" else "")
        for entry in reversed(box.ledger.entries(subject=f"version:{version.ref}"))
        if entry.act in ("model.promote", "model.roll_back")
    ]
    if lines:
        return lines if "champion" in aliases else [*lines, "it is not the champion any more"]
    if version.state == "rejected":
        return ["never: its gates rejected it"]
    blocked = parity_block(box, version)
    return [f"not yet: {blocked}" if blocked else "not yet: nobody promoted it"]


def _version_otherwise(version: ModelVersion) -> list[str]:
    failed = [gate for gate in version.gates if gate.passed is False]
    if failed:
        return [
            f"{gate.name}: {_number(gate.limit)} would have passed {_number(gate.value)}"
            if gate.limit is None or gate.value is None
            else f"{gate.name}: a limit of {gate.value:.4g} (it is {gate.limit:.4g}) would have passed it"
            for gate in failed
        ]
    close = [
        (abs(gate.value - gate.limit) / (abs(gate.limit) or 1.0), gate)
        for gate in version.gates
        if gate.passed and gate.value is not None and gate.limit is not None
    ]
    if not close:
        return ["no gate with a limit judged it: declare [gates]"]
    _, nearest = min(close, key=lambda item: item[0])
    return [f"{nearest.name} came closest: {nearest.value:.4g}, limit {nearest.limit:.4g}"]


def _number(value: float | None) -> str:
    return "another value" if value is None else f"{value:.4g}"


def _watched(box: Box, version: ModelVersion) -> list[str]:
    windows = box.windows.list(version.model, number=version.number, limit=1)
    if not windows:
        return ["since then", "  no window of live traffic yet"]
    newest = windows[0]
    quality = newest.quality.reason if newest.quality else "no ground truth yet"
    return [
        "since then",
        f"  window {isoformat(newest.starts_at)}, {newest.rows} rows: {newest.drift.outcome.replace('_', ' ')}: "
        f"{newest.drift.reason}",
        f"  quality: {quality}",
    ]


def _bundles(box: Box, version: ModelVersion) -> list[str]:
    lines = carried_out(box, version)
    return ["carried out", *(f"  {line}" for line in lines)] if lines else []


def _window_of(box: Box, version: ModelVersion, prediction: dict[str, Any]) -> list[str]:
    registered = box.projects.for_model(version.model)
    if registered is None:
        return []
    starts_at = window_start(prediction["event_time"], registered.declaration.monitor.window)
    try:
        window = box.windows.get(version.model, version.number, starts_at)
    except NotFoundError:
        return ["its window", "  not monitored yet: mlops-box monitor"]
    return [
        "its window",
        f"  {isoformat(window.starts_at)}: {window.drift.outcome.replace('_', ' ')}: {window.drift.reason}",
    ]


def _answer(prediction: dict[str, Any]) -> str:
    if prediction.get("label") is not None:
        score = prediction.get("prediction")
        return f"{prediction['label']}{f' ({score:.4g})' if score is not None else ''}"
    value = prediction.get("prediction")
    return f"{value:.6g}" if value is not None else f"no answer ({prediction.get('outcome')})"


def _run_otherwise(run: Run) -> str:
    return {
        "completed": "nothing stopped it",
        "running": "it is not over yet",
        "refused": "data that keep the contract: mlops-box check shows which rule broke",
        "rejected": "a version that passes its gates; mlops-box why on the version shows by how much it failed",
        "failed": "the cause above; start it again once it is mended",
        "crashed": "a process that lives: look at the log for a kill, a lack of memory, a power cut",
        "cancelled": "nobody stopping it",
    }[run.state]
