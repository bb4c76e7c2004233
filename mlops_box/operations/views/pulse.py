"""The box at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mlops_box.box import Box
from mlops_box.clock import isoformat
from mlops_box.operations.views.alerts import AlertRow, DecisionRow, list_alerts, list_decisions
from mlops_box.operations.views.data import BatchRow, list_batches
from mlops_box.operations.views.models import ModelRow, list_models
from mlops_box.operations.views.paging import Query
from mlops_box.operations.views.reading import moment
from mlops_box.operations.views.runs import RunRow, list_runs


@dataclass(frozen=True)
class Counts:
    """What wants attention, in numbers; ``monitored`` says whether any window was ever looked at."""

    running: int
    failed_24h: int
    open_alerts: int
    suggestions: int
    monitored: bool


@dataclass(frozen=True)
class Pulse:
    """The home screen.

    Attributes:
        runs_24h: State to number of runs started in the last 24 hours.
        runs_by_hour: Runs started in each of the last 24 hours, oldest first.
        watched_rows: Predictions in the newest window of each champion; ``None`` where none was monitored.
    """

    counts: Counts
    runs_24h: dict[str, int]
    runs_by_hour: tuple[int, ...]
    runs_total: int
    newest_runs: tuple[RunRow, ...]
    models: tuple[ModelRow, ...]
    alerts: tuple[AlertRow, ...]
    decisions: tuple[DecisionRow, ...]
    batches: tuple[BatchRow, ...]
    watched_rows: dict[str, int]
    last_monitored: datetime | None


def read_counts(box: Box) -> Counts:
    """The numbers of the status bar."""
    row = box.db.read(
        "SELECT (SELECT COUNT(*) FROM runs WHERE state = 'running') AS running, "
        "(SELECT COUNT(*) FROM runs WHERE started_at >= ? AND state IN ('failed','refused','rejected','crashed')) "
        "AS failed_24h, (SELECT COUNT(*) FROM alerts WHERE state = 'open') AS open_alerts, "
        "(SELECT COUNT(*) FROM decisions WHERE state = 'suggested') AS suggestions, "
        "EXISTS (SELECT 1 FROM windows) AS monitored",
        (_a_day_ago(box),),
    )[0]
    return Counts(**{**row, "monitored": bool(row["monitored"])})


def read_pulse(box: Box) -> Pulse:
    """All of the home screen in one go."""
    few = Query(limit=12)
    since = _a_day_ago(box)
    states = box.db.read(
        "SELECT state, COUNT(*) AS n FROM runs WHERE started_at >= ? GROUP BY state", (since,)
    )
    newest = list_runs(box, few)
    windows = box.db.read(
        "SELECT model, rows, MAX(ends_at) AS ends_at FROM windows JOIN aliases USING (model, number) "
        "WHERE alias = 'champion' GROUP BY model"
    )
    last = box.db.one("SELECT MAX(computed_at) AS at FROM windows")
    return Pulse(
        counts=read_counts(box),
        runs_24h={row["state"]: row["n"] for row in states},
        runs_by_hour=_by_hour(box, since),
        runs_total=newest.total,
        newest_runs=newest.rows,
        models=list_models(box, few).rows,
        alerts=list_alerts(box, Query(text="!state:resolved", limit=12)).rows,
        decisions=list_decisions(box, few).rows,
        batches=list_batches(box, few).rows,
        watched_rows={row["model"]: row["rows"] for row in windows},
        last_monitored=moment(last["at"]) if last else None,
    )


def _a_day_ago(box: Box) -> str:
    return isoformat(box.clock.now() - timedelta(days=1))


def _by_hour(box: Box, since: str) -> tuple[int, ...]:
    rows = box.db.read(
        "SELECT CAST((unixepoch(started_at) - unixepoch(?)) / 3600 AS INTEGER) AS hour, COUNT(*) AS n "
        "FROM runs WHERE started_at >= ? AND unixepoch(started_at) IS NOT NULL GROUP BY hour",
        (since, since),
    )
    hours = [0] * 24
    for row in rows:
        hours[min(23, max(0, row["hour"]))] += row["n"]
    return tuple(hours)
