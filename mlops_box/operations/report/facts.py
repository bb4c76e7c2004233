"""What the report tells, gathered from box.db."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlops_box.box import Box
from mlops_box.clock import parse_time
from mlops_box.errors import NotFoundError
from mlops_box.models.values import ModelVersion
from mlops_box.monitoring.alerts import Alert
from mlops_box.monitoring.decisions import Decision
from mlops_box.monitoring.values import Window

_MANY = 100_000


@dataclass(frozen=True)
class RolloutLine:
    """One rollout; ``ended_at`` is ``None`` while it lasts."""

    number: int
    base: int
    state: str
    proposed_at: datetime
    ended_at: datetime | None
    reason: str


@dataclass(frozen=True)
class ReportFacts:
    """Everything the report tells, each oldest first.

    Attributes:
        windows: Of the version that answered most rows in each span of event time.
        held_out: The metric of each version on its held-out rows.
        limit: Declared relative loss that alarms.
    """

    model: str
    project: str
    description: str
    metric: str
    windows: tuple[Window, ...]
    held_out: dict[int, float]
    limit: float
    versions: tuple[ModelVersion, ...]
    champion: int | None
    decisions: tuple[Decision, ...]
    alerts: tuple[Alert, ...]
    rollouts: tuple[RolloutLine, ...]
    now: datetime

    @property
    def losses(self) -> int:
        return sum(window.quality is not None and window.quality.outcome == "loss" for window in self.windows)

    @property
    def drifts(self) -> int:
        return sum(window.drift.outcome == "drift" for window in self.windows)


def gather(box: Box, name: str, *, since: datetime | None = None) -> ReportFacts:
    """The facts of a model, by its name or its project's.

    Raises:
        NotFoundError: Neither a model nor a project is called so, or it has no version yet.
    """
    model = _model_named(box, name)
    versions = tuple(reversed(box.models.list(model, limit=_MANY)))
    if not versions:
        raise NotFoundError(f"{model} has no version yet", hint="mlops-box train makes one")
    registered = box.projects.for_model(model)
    windows = [
        window
        for window in reversed(box.windows.list(model, limit=_MANY))
        if since is None or window.ends_at > since
    ]
    metric = next((window.quality.metric for window in reversed(windows) if window.quality), None)
    metric = metric or next(iter(versions[-1].metrics), "")
    return ReportFacts(
        model=model,
        project=registered.name if registered else versions[-1].project,
        description=registered.declaration.project.description if registered else "",
        metric=metric,
        windows=_one_each(windows),
        held_out={v.number: v.metrics[metric] for v in versions if metric in v.metrics},
        limit=registered.declaration.monitor.quality if registered else 0.0,
        versions=versions,
        champion=box.models.aliases(model).get("champion"),
        decisions=tuple(reversed(box.decisions.list(model=model, limit=_MANY))),
        alerts=tuple(sorted(box.alerts.list(model=model, limit=_MANY), key=lambda alert: alert.opened_at)),
        rollouts=_rollouts(box, model),
        now=box.clock.now(),
    )


def _model_named(box: Box, name: str) -> str:
    if name in box.models.models():
        return name
    found = [project.model_name for project in box.projects.list() if project.name == name]
    if not found:
        raise NotFoundError(f"neither a model nor a project is called {name!r}", hint="mlops-box models list")
    return found[0]


def _one_each(windows: Sequence[Window]) -> tuple[Window, ...]:
    """One window a span: around a swap two versions answered; the one with more rows speaks for the span."""
    best: dict[datetime, Window] = {}
    for window in windows:
        known = best.get(window.starts_at)
        if known is None or window.rows > known.rows:
            best[window.starts_at] = window
    return tuple(best[start] for start in sorted(best))


def _rollouts(box: Box, model: str) -> tuple[RolloutLine, ...]:
    rows = box.db.read(
        "SELECT number, base, state, reason, proposed_at, ended_at FROM rollouts WHERE model = ? "
        "ORDER BY proposed_at, id",
        (model,),
    )
    return tuple(
        RolloutLine(
            row["number"], row["base"], row["state"], parse_time(row["proposed_at"]),
            parse_time(row["ended_at"]) if row["ended_at"] else None, row["reason"],
        )
        for row in rows
    )  # fmt: skip
