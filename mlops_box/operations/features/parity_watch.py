"""Parity as a matter of course: compared by every monitor run that has something new, one alert a model."""

from __future__ import annotations

from typing import Any

from mlops_box.box import Box
from mlops_box.clock import parse_time
from mlops_box.monitoring.alerts import AlertChange
from mlops_box.operations.features.parity import ParityOutcome, check_parity, declared_parity
from mlops_box.operations.monitor_windows import Watched

_EXAMPLES = 5


def watch_parity(box: Box, watched: Watched) -> list[AlertChange]:
    """Open, update or resolve the alert about a model's parity. The log is sealed; no prediction is no verdict."""
    if not _is_due(box, watched):
        return []
    declared = declared_parity(box, watched.model)
    found = check_parity(box, watched.model, since=box.clock.now() - declared.window, is_sealed=True)
    if found.outcome == "cannot_tell":
        return []
    if found.outcome == "fine":
        standing = box.alerts.unresolved(watched.model, "parity")
        if standing is None:
            return []
        reason = f"{found.rows} predictions were compared and are as recomputed"
        return [AlertChange("resolved", box.alerts.resolve(standing.id, reason=reason))]
    raised = box.alerts.raise_or_update(
        project=watched.project, model=watched.model, number=watched.champion.number, kind="parity",
        severity="error", title=title_of(found), finding=_finding(found, blocks=declared.block),
    )  # fmt: skip
    return [] if raised.change == "known" else [AlertChange(raised.change, raised.alert)]


def title_of(found: ParityOutcome) -> str:
    """The features that differ too often, and the causes found most often."""
    broken = [column for column in found.columns if column.column in found.broken]
    parts = [
        f"{one.column} differs in {one.mismatches} of {one.rows} rows ({next(iter(one.causes))})"
        for one in broken[:3]
    ]
    more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
    return f"{found.model}: {'; '.join(parts)}{more}"


def _finding(found: ParityOutcome, *, blocks: bool) -> dict[str, Any]:
    told = found.to_dict()
    broken = set(found.broken)
    guilty = {column.partition("__")[0] for column in broken}
    return {
        "definitions": {ref: digest for ref, digest in found.definitions.items() if ref.partition("@")[0] in guilty},
        "columns": [column for column in told["columns"] if column["column"] in broken],
        "examples": [one for one in told["mismatches"] if one["column"] in broken][:_EXAMPLES],
        "tolerance": found.tolerance, "blocks": blocks,
    }  # fmt: skip


def _is_due(box: Box, watched: Watched) -> bool:
    """Does the model use features, and was any of its predictions sealed since the last monitor run that ended well?"""
    uses = box.db.one(
        "SELECT 1 FROM versions WHERE model = ? AND json_extract(lineage, '$.features') IS NOT NULL LIMIT 1",
        (watched.model,),
    )
    if uses is None:
        return False
    newest = box.db.one(
        "SELECT max(sealed_at) AS at FROM segments JOIN sealed ON sealed.segment_id = segments.id "
        "WHERE model = ? AND kind = 'prediction'",
        (watched.model,),
    )
    runs = [
        run
        for project in (watched.project, "all")
        for run in box.runs.list(project=project, kind="monitor", state="completed", limit=1)
    ]
    if newest is None or newest["at"] is None:
        return False
    return not runs or parse_time(newest["at"]) >= max(run.started_at for run in runs)
