"""``mlops-box status``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_box.cli.common import emit, home_option, json_option, table

if TYPE_CHECKING:
    from mlops_box.operations.status import BoxStatus


@click.command("status", short_help="Show what runs, what serves and what is wrong.")
@home_option
@json_option
def command(home: Path | None, as_json: bool) -> int:
    """Show what runs, what serves and what is wrong.

    Exit code 0 when everything is up, 6 when the box is down, starting, or something in it does not answer.
    """
    from mlops_box.clock import SystemClock
    from mlops_box.home import home_from
    from mlops_box.operations.status import box_status

    status = box_status(home_from(os.environ, given=home), SystemClock())
    emit(status.to_dict(), as_json=as_json, text=lambda: _text(status))
    return status.exit_code


def _text(status: BoxStatus) -> str:
    colour = {"ready": "green", "down": "red"}.get(status.phase, "yellow")
    head = click.style(status.phase, fg=colour, bold=True) + f"  home {status.home}"
    if status.endpoint:
        head += f"\nendpoint   {status.endpoint}\ngRPC       {status.grpc or 'off'}"
        head += f"\nscheduler  {status.prefect_api or 'off'}"
    parts = [head]
    if status.processes:
        parts.append(_processes(status))
    parts.append(_models(status))
    if status.alerts:
        parts.append(_alerts(status))
    parts.append(_runs(status))
    if status.upcoming:
        rows = [(item.deployment, item.at, item.cron) for item in status.upcoming]
        parts.append(table(["NEXT", "AT (UTC)", "CRON"], rows, empty=""))
    if status.phase == "down":
        parts.append("start it with: mlops-box up --detach")
    return "\n\n".join(parts)


def _processes(status: BoxStatus) -> str:
    from mlops_box.units import format_duration, format_size

    rows: list[tuple[object, ...]] = [
        ("supervisor", "up", status.supervisor_pid, format_duration(status.uptime_s or 0), None, None)
    ]
    rows += [
        (
            process.name,
            process.state,
            process.pid,
            format_duration(process.uptime_s) if process.uptime_s is not None else None,
            format_size(process.rss_bytes) if process.rss_bytes is not None else None,
            process.restarts,
        )
        for process in status.processes
    ]
    return table(["PROCESS", "STATE", "PID", "UPTIME", "MEMORY", "RESTARTS"], rows, empty="")


def _models(status: BoxStatus) -> str:
    rows = [(model.model, model.number, model.created_at) for model in status.models]
    return table(["MODEL", "CHAMPION", "SINCE"], rows, empty="no model has a champion yet: mlops-box train")


def _alerts(status: BoxStatus) -> str:
    rows = [(a.id[:12], a.severity, a.state, a.model, a.title) for a in status.alerts]
    return table(["ALERT", "SEVERITY", "STATE", "MODEL", "WHAT"], rows, empty="")


def _runs(status: BoxStatus) -> str:
    from mlops_box.units import format_duration

    rows = [
        (
            run.id[:12],
            run.kind,
            run.project,
            run.state,
            run.started_at,
            format_duration(run.seconds) if run.seconds is not None else None,
            (run.error or run.epochs or "")[:72],
        )
        for run in status.runs
    ]
    return table(["RUN", "KIND", "PROJECT", "STATE", "STARTED", "TOOK", "SAYS"], rows, empty="no runs yet")
