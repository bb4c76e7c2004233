"""What every command shares: the home, the project, ``--json``, tables."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from datetime import datetime

    from mlops_box.box import Box
    from mlops_box.project import LoadedProject

F = TypeVar("F", bound=Callable[..., Any])


def home_option(function: F) -> F:
    """``--home DIR`` as parameter ``home: Path | None``."""
    return click.option(
        "--home",
        type=click.Path(path_type=Path, file_okay=False),
        help="The box's home [default: $MLOPS_BOX_HOME or ~/.mlops-box].",
    )(function)


def json_option(function: F) -> F:
    """``--json`` as parameter ``as_json: bool``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(function)


def project_option(function: F) -> F:
    """``--project DIR`` as parameter ``project: Path``."""
    return click.option(
        "--project",
        type=click.Path(path_type=Path),
        default=Path(),
        help="The project's folder [default: this folder].",
    )(function)


def open_box(home: Path | None, *, read_only: bool = False) -> Box:
    """Open the box named by ``--home`` or the environment."""
    from mlops_box.box import Box
    from mlops_box.home import home_from

    return Box.open(home_from(os.environ, given=home), read_only=read_only)


def read_project(folder: Path) -> LoadedProject:
    from mlops_box.project import load_project

    return load_project(folder)


def emit(data: Any, *, as_json: bool, text: str | Callable[[], str]) -> None:
    """Print ``data`` as JSON, or ``text`` for people; both go to standard output."""
    if as_json:
        click.echo(json.dumps(data, default=str, ensure_ascii=False))
    else:
        click.echo(text if isinstance(text, str) else text())


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> str:
    """Aligned columns, two spaces apart; ``empty`` where there are no rows (it says what to type)."""
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        return empty
    widths = [max(len(line[i]) for line in [list(headers), *cells]) for i in range(len(headers))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in [list(headers), *cells]
    ]
    return "\n".join([click.style(lines[0], bold=True), *lines[1:]])


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return printable(str(value))


def printable(text: str) -> str:
    """``text`` on one line: names and texts come from outside, control characters must not reach the terminal."""
    return "".join(character if character.isprintable() else "�" for character in text)


def read_time(option: str, text: str | None) -> datetime | None:
    """A day or an ISO time that was typed; UTC where no zone is named.

    Raises:
        UsageError: It is neither.
    """
    from datetime import UTC, datetime

    from mlops_box.data.times import parse_date_text, parse_time_text
    from mlops_box.errors import UsageError

    if text is None:
        return None
    if (moment := parse_time_text(text)) is not None:
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    day = parse_date_text(text)
    if day is None:
        raise UsageError(f"{option} {text!r} is no time", hint="write 2026-01-31 or 2026-01-31T12:00:00Z")
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
