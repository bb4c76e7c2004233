"""Back-test: stored history under a changed policy."""

from __future__ import annotations

import statistics
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from mlops_box.box import Box
from mlops_box.clock import isoformat, parse_time
from mlops_box.errors import NotFoundError, UsageError
from mlops_box.monitoring.replay import Evidence, Firing, Replay, replay
from mlops_box.monitoring.values import Finding, QualityFinding, Window
from mlops_box.project import Project

_SECTIONS = ("retrain", "monitor")
_REJUDGED = ("effect", "quality", "min_rows", "ground_truth_delay")
_NEWEST = 100_000


@dataclass(frozen=True)
class Backtest:
    """One model's history three ways: as it was, under the declared policy, under the changed one.

    Attributes:
        trainings: How many trainings the cost of one is the median of; 0 where none ended and it is unknown.
    """

    model: str
    since: datetime
    until: datetime
    windows: int
    changes: tuple[str, ...]
    happened: tuple[Firing, ...]
    declared: Replay
    changed: Replay | None
    training_s: float
    trainings: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model, "since": isoformat(self.since), "until": isoformat(self.until),
            "windows": self.windows, "changes": list(self.changes),
            "happened": [firing.to_dict() for firing in self.happened],
            "declared": self.declared.to_dict(),
            "changed": self.changed.to_dict() if self.changed else None,
            "training_s": self.training_s, "trainings": self.trainings,
        }  # fmt: skip


def backtest(
    box: Box,
    model: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    changes: Sequence[str] = (),
) -> Backtest:
    """Replay a model's stored windows and snapshots; changes nothing.

    Args:
        changes: ``retrain.cooldown=1d``, ``monitor.effect=0.2``: values as in mlops.toml, quotes may be left out.

    Raises:
        NotFoundError: No such project for the model, or no window in that time.
        UsageError: A change names no key, or its value is not possible.
    """
    registered = box.projects.for_model(model)
    if registered is None:
        raise NotFoundError(f"no project makes a model {model!r}", hint="mlops-box models list")
    declared = registered.declaration
    changed = _changed(declared, changes) if changes else None
    windows = _windows(box, model, since, until)
    if not windows:
        raise NotFoundError(
            f"{model} has no monitored window in that time", hint="mlops-box monitor makes them"
        )
    seconds, trainings = training_seconds(box, registered.name)
    start = windows[0].starts_at
    options = {"since": _champion_since(box, model, start), "rows": _rows_at(box, registered.name, start)}

    def run(project: Project) -> Replay:
        evidence = _evidence(box, project, windows, limits=project is not declared)
        return replay(project.retrain, evidence, training_s=seconds, model=model, **options)  # type: ignore[arg-type]

    return Backtest(
        model, start, windows[-1].ends_at, len(windows), tuple(changes),
        _happened(box, model, start, until), run(declared), run(changed) if changed else None, seconds, trainings,
    )  # fmt: skip


def _changed(project: Project, changes: Sequence[str]) -> Project:
    raw = project.model_dump(mode="json", by_alias=True)
    for change in changes:
        key, separator, text = change.partition("=")
        section, _, name = key.strip().partition(".")
        if not separator or section not in _SECTIONS or name not in raw[section]:
            known = ", ".join(f"retrain.{name}" for name in raw["retrain"])
            raise UsageError(
                f"{change!r} changes nothing that is known",
                hint=f"--set retrain.cooldown=1d; known: {known}, {', '.join(f'monitor.{n}' for n in _REJUDGED)}",
            )
        if section == "monitor" and name not in _REJUDGED:
            raise UsageError(
                f"monitor.{name} cannot be changed afterwards: windows were made with it",
                hint=f"of [monitor]: {', '.join(_REJUDGED)}",
            )
        raw[section][name] = _value(text.strip())
    try:
        return Project.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"--set {place}: {first['msg']}", hint="write the value as in mlops.toml") from None


def _value(text: str) -> Any:
    """A TOML value; what is none is taken as text, so that ``1d`` needs no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _windows(box: Box, model: str, since: datetime | None, until: datetime | None) -> list[Window]:
    """Of the version that served at the time, oldest first."""
    found = [
        window
        for window in reversed(box.windows.list(model, limit=_NEWEST))
        if (since is None or window.ends_at > since) and (until is None or window.starts_at < until)
    ]
    terms = _terms(box, model)
    return [window for window in found if _served(terms, window)]


def _terms(box: Box, model: str) -> list[tuple[datetime, int]]:
    """(since, number) of every champion, oldest first, as the ledger tells."""
    rows = box.db.read(
        "SELECT at, subject FROM ledger WHERE act IN ('model.promote', 'model.roll_back') "
        "AND substr(subject, 1, ?) = ? ORDER BY seq",
        (len(f"version:{model}@"), f"version:{model}@"),
    )
    return [(parse_time(row["at"]), int(row["subject"].rpartition("@")[2])) for row in rows]


def _served(terms: list[tuple[datetime, int]], window: Window) -> bool:
    """Whether its version was champion when it was looked at, or in its time (history may be loaded afterwards)."""
    numbers = {number for since, number in terms if since <= window.computed_at}
    current = [number for since, number in terms if since <= window.ends_at]
    return window.number == current[-1] if current else window.number in numbers


def _evidence(box: Box, project: Project, windows: Sequence[Window], *, limits: bool) -> list[Evidence]:
    """What the windows say, judged anew by the project's limits where ``limits`` asks for it; and the snapshots."""
    found: list[Evidence] = []
    delay = project.monitor.ground_truth_delay
    for window in windows:
        drift = _drift(window.drift, project) if limits else window.drift.outcome
        found.append(Evidence(window.ends_at, window.key, drift=drift, text=window.drift.reason))
        if window.quality is not None:
            quality = _quality(window.quality, project) if limits else window.quality.outcome
            found.append(
                Evidence(window.ends_at + delay, window.key, quality=quality, text=window.quality.reason)
            )
    snapshots = box.db.read(
        "SELECT rows, created_at FROM snapshots WHERE project = ? ORDER BY created_at", (project.name,)
    )
    found += [
        Evidence(parse_time(row["created_at"]), f"snapshot:{row['created_at']}", new_rows=row["rows"])
        for row in snapshots
        if windows[0].starts_at <= parse_time(row["created_at"]) <= windows[-1].ends_at
    ]
    return found


def _drift(finding: Finding, project: Project) -> Any:
    """The verdict under other limits, from the stored effects and adjusted probabilities."""
    if finding.rows < project.monitor.min_rows or not finding.features:
        return "cannot_tell"
    for feature in finding.features:
        for test in feature.tests:
            sure = test.p_adjusted is not None and test.p_adjusted <= finding.fdr
            if test.test != "missing" and sure and (test.effect or 0.0) >= project.monitor.effect:
                return "drift"
    joint = finding.joint
    if joint is not None and joint.p_adjusted is not None and joint.p_adjusted <= finding.fdr:
        return "drift" if (joint.effect or 0.0) >= project.monitor.effect else "fine"
    return "fine"


def _quality(finding: QualityFinding, project: Project) -> Any:
    if finding.loss is None or finding.loss_low is None:
        return finding.outcome
    if finding.loss <= project.monitor.quality:
        return "fine"
    return "loss" if finding.loss_low > 0 else "cannot_tell"


def training_seconds(box: Box, project: str) -> tuple[float, int]:
    """(median seconds, number) of the trainings that came to an end."""
    rows = box.db.read(
        "SELECT started_at, ended_at FROM runs WHERE project = ? AND kind = 'train' "
        "AND state IN ('completed', 'rejected') AND ended_at IS NOT NULL",
        (project,),
    )
    times = [(parse_time(row["ended_at"]) - parse_time(row["started_at"])).total_seconds() for row in rows]
    return (statistics.median(times) if times else 0.0), len(times)


def _champion_since(box: Box, model: str, start: datetime) -> datetime:
    terms = [since for since, _ in _terms(box, model) if since <= start]
    return terms[-1] if terms else start


def _rows_at(box: Box, project: str, start: datetime) -> int:
    row = box.db.one(
        "SELECT rows FROM snapshots WHERE project = ? AND created_at <= ? ORDER BY created_at DESC LIMIT 1",
        (project, isoformat(start)),
    )
    return int(row["rows"]) if row else 0


def _happened(box: Box, model: str, since: datetime, until: datetime | None) -> tuple[Firing, ...]:
    """What was really issued or suggested in that time, by the evidence's window where there is one."""
    found = []
    for decision in reversed(box.decisions.list(model=model, limit=_NEWEST)):
        if decision.state == "withheld" or (until is not None and decision.decided_at > until):
            continue
        if decision.decided_at < since:
            continue
        state = "suggested" if decision.state == "suggested" else "pending"
        found.append(Firing(decision.decided_at, decision.trigger, state, decision.reason))  # type: ignore[arg-type]
    return tuple(found)
