"""``mlops-box features push NAME``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box
from mlops_box.errors import UsageError


@click.command("push")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--id", "id_column", help="The key of an event that tells it apart from an equal one.")
@home_option
@json_option
def command(name: str, file: Path | None, id_column: str | None, home: Path | None, as_json: bool) -> None:
    """Push events: the next prediction sees them.

    NAME is a view or a source. FILE holds one JSON object a line; without it, standard input does, as one object, a list,
    or one object a line. An event that was pushed before is known again, and counts once.
    """
    if file is None and sys.stdin.isatty():
        raise UsageError("there are no events", hint="name a file of JSON lines, or pipe them in")
    events = _read(file)
    from mlops_box.operations.features.push import push

    with open_box(home) as box:
        done = push(box, name, events, id_column=id_column)
    emit(done.to_dict(), as_json=as_json, text=lambda: _text(done.to_dict()))


def _read(file: Path | None) -> list[Any]:
    where = str(file) if file is not None else "standard input"
    try:
        text = file.read_text(encoding="utf-8-sig") if file is not None else sys.stdin.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{where} cannot be read: {error}") from None
    try:
        whole = json.loads(text)
        return whole if isinstance(whole, list) else [whole]
    except (ValueError, RecursionError):
        pass  # several lines, or no JSON at all: the next reading says which
    return [
        _line(line, f"{where}, line {n}") for n, line in enumerate(text.splitlines(), start=1) if line.strip()
    ]


def _line(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is no JSON: {error}") from None


def _text(done: dict[str, Any]) -> str:
    lines = [f"{done['events']:,} events stored in {done['source']}, {done['known']:,} known already"]
    for view, told in done["views"].items():
        deferred = f", {told['deferred']:,} of them when it is materialised" if told["deferred"] else ""
        lines.append(f"  {view}: {told['entities']:,} entities{deferred}")
    return "\n".join(lines)
