"""``mlops-box doctor``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_box.cli.common import emit, home_option, json_option

if TYPE_CHECKING:
    from mlops_box.operations.doctor import Check, Diagnosis

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red")}


@click.command("doctor", short_help="Check the installation and say how to mend it.")
@home_option
@json_option
def command(home: Path | None, as_json: bool) -> int:
    """Check the installation and say how to mend it.

    Python, packages and their traps, SQLite, the home, ports, telemetry, the clock, open runs, torch and CUDA.
    Changes nothing. Exit code 0 when fit (warnings included), 1 when a check failed.
    """
    from mlops_box.clock import SystemClock
    from mlops_box.home import home_from
    from mlops_box.operations.doctor import examine
    from mlops_box.progress import TerminalProgress

    place = home_from(os.environ, given=home)
    with TerminalProgress() as progress:
        diagnosis = examine(place, clock=SystemClock(), environ=os.environ, progress=progress)
    emit(diagnosis.to_dict(), as_json=as_json, text=lambda: _text(diagnosis))
    return 0 if diagnosis.is_fit else 1


def _text(diagnosis: Diagnosis) -> str:
    lines = [_line(check) for check in diagnosis.checks]
    verdict = "fit to work" if diagnosis.is_fit else "not fit to work: mend what is marked ✗"
    return "\n".join([*lines, "", click.style(verdict, bold=True)])


def _line(check: Check) -> str:
    mark, colour = _MARKS[check.verdict]
    line = f"{click.style(mark, fg=colour)} {check.name:<10} {check.message}"
    return line if check.mend is None else f"{line}\n  {'':<10} mend it: {check.mend}"
