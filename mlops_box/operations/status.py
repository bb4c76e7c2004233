"""What runs, what serves and what is wrong, at one look."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil

from mlops_box.box import Box
from mlops_box.clock import Clock, isoformat, parse_time
from mlops_box.errors import NotFoundError
from mlops_box.home import Home
from mlops_box.operations.run_progress import run_progress
from mlops_box.operations.supervisor.control import exit_code_of
from mlops_box.operations.supervisor.state import ProcessReport, read_state
from mlops_box.runs import Run
from mlops_box.serving.address import ServerAddress


@dataclass(frozen=True)
class ProcessStatus:
    """One process; ``rss_bytes`` counts its children too. ``None`` while it does not run."""

    name: str
    state: str
    pid: int | None
    uptime_s: float | None
    rss_bytes: int | None
    restarts: int
    last_exit: int | None


@dataclass(frozen=True)
class ServedVersion:
    """A champion."""

    model: str
    number: int
    created_at: str


@dataclass(frozen=True)
class AlertLine:
    """An alert nobody has resolved."""

    id: str
    severity: str
    state: str
    model: str
    title: str
    opened_at: str


@dataclass(frozen=True)
class RunLine:
    """A recent run; ``epochs`` says how far a running training in epochs is."""

    id: str
    project: str
    kind: str
    state: str
    started_at: str
    seconds: float | None
    error: str | None
    epochs: str | None = None


@dataclass(frozen=True)
class NextRun:
    """When a deployment is due next."""

    deployment: str
    cron: str
    at: str


@dataclass(frozen=True)
class BoxStatus:
    """The whole of it. ``phase`` is ``down`` when no supervisor lives; ``grpc`` is ``host:port``."""

    home: str
    phase: str
    supervisor_pid: int | None
    uptime_s: float | None
    endpoint: str | None
    grpc: str | None
    prefect_api: str | None
    processes: tuple[ProcessStatus, ...]
    models: tuple[ServedVersion, ...]
    alerts: tuple[AlertLine, ...]
    runs: tuple[RunLine, ...]
    upcoming: tuple[NextRun, ...]
    exit_code: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def box_status(home: Home, clock: Clock) -> BoxStatus:
    """Look, and change nothing; a home without a box is simply down."""
    state = read_state(home)
    alive = state if state is not None and state.is_alive() else None
    now = clock.now()
    address = ServerAddress.read(home.run)
    models, alerts, runs = _from_box(home, clock)
    return BoxStatus(
        home=str(home.root),
        phase=alive.phase if alive else "down",
        supervisor_pid=alive.owner.pid if alive else None,
        uptime_s=_since(alive.started_at, now) if alive else None,
        endpoint=alive.url if alive else None,
        grpc=address.grpc_target if alive and address else None,
        prefect_api=alive.prefect_api if alive else None,
        processes=tuple(_process(report, now) for report in alive.processes) if alive else (),
        models=models,
        alerts=alerts,
        runs=runs,
        upcoming=_upcoming(home, now) if alive and alive.serves_deployments else (),
        exit_code=exit_code_of(state),
    )


def _process(report: ProcessReport, now: datetime) -> ProcessStatus:
    return ProcessStatus(
        name=report.name,
        state=report.state,
        pid=report.pid,
        uptime_s=_since(report.started_at, now) if report.started_at else None,
        rss_bytes=_rss(report.pid) if report.pid is not None else None,
        restarts=report.restarts,
        last_exit=report.last_exit,
    )


def _rss(pid: int) -> int | None:
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return None
    total = 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.Error:
            continue
    return total


def _from_box(
    home: Home, clock: Clock
) -> tuple[tuple[ServedVersion, ...], tuple[AlertLine, ...], tuple[RunLine, ...]]:
    try:
        box = Box.open(home, clock=clock, read_only=True)
    except NotFoundError:
        return (), (), ()
    with box:
        models = tuple(
            ServedVersion(version.model, version.number, isoformat(version.created_at))
            for version in box.models.champions().values()
        )
        alerts = tuple(
            AlertLine(a.id, a.severity, a.state, a.model, a.title, isoformat(a.opened_at))
            for a in box.alerts.list(limit=100)
            if a.state != "resolved"
        )
        runs = tuple(
            RunLine(
                run.id,
                run.project,
                run.kind,
                run.state,
                isoformat(run.started_at),
                (run.ended_at - run.started_at).total_seconds() if run.ended_at else None,
                run.error,
                _epochs(box, run),
            )
            for run in box.runs.list(limit=5)
        )
    return models, alerts, runs


def _epochs(box: Box, run: Run) -> str | None:
    progress = run_progress(box, run) if run.state == "running" else None
    return progress.words() if progress is not None else None


def _upcoming(home: Home, now: datetime) -> tuple[NextRun, ...]:
    """From what the runner says it serves."""
    from cronsim import CronSim

    try:
        served = json.loads((home.run / "runner.json").read_text(encoding="utf-8"))["deployments"]
    except (OSError, ValueError, KeyError):
        return ()
    # CronSim counts from whole minutes, in the zone of the time it is given.
    found = [
        NextRun(name, cron, isoformat(next(CronSim(cron, now.astimezone(UTC)))))
        for name, cron in served.items()
        if cron
    ]
    return tuple(sorted(found, key=lambda item: item.at))


def _since(moment: str, now: datetime) -> float:
    return max(timedelta(0), now - parse_time(moment)).total_seconds()
