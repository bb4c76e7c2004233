"""``mlops-box down``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_box.cli.common import emit, home_option, json_option

if TYPE_CHECKING:
    from mlops_box.operations.supervisor.control import DownReport


@click.command("down", short_help="Stop what `up` started.")
@home_option
@json_option
def command(home: Path | None, as_json: bool) -> None:
    """Stop what `up` started: the runner (it cancels its runs), the inference server, then Prefect.

    Also clears away what a killed supervisor left. Nothing running is fine: the exit code is 0.
    """
    from mlops_box.home import home_from
    from mlops_box.operations.supervisor.control import stop
    from mlops_box.progress import TerminalProgress

    with TerminalProgress() as progress:
        report = stop(home_from(os.environ, given=home), progress)
    emit(report.to_dict(), as_json=as_json, text=_text(report))


def _text(report: DownReport) -> str:
    if not report.was_up:
        return "nothing was up"
    if report.clean:
        return "down"
    return f"down; {report.ended} processes that a killed supervisor had left were ended"
