"""``mlops-box feedback MODEL --id X --value V`` or ``--in FILE``."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box
from mlops_box.errors import UsageError


@click.command("feedback")
@click.argument("model")
@click.option("--id", "ids", multiple=True, help="A prediction id; repeat it together with --value.")
@click.option("--value", "values", multiple=True, help="What really happened.")
@click.option(
    "--in", "source", type=click.Path(path_type=Path), help="CSV or JSON lines with the columns id and value."
)
@home_option
@json_option
def command(
    model: str,
    ids: tuple[str, ...],
    values: tuple[str, ...],
    source: Path | None,
    home: Path | None,
    as_json: bool,
) -> None:
    """Send ground truth for earlier predictions.

    It may come late, and a later truth for the same id corrects an earlier one. All are stored, or none.
    """
    if len(ids) != len(values):
        raise UsageError(
            f"{len(ids)} ids and {len(values)} values do not pair up", hint="give one --value for each --id"
        )
    truths: list[tuple[object, object]] = list(zip(ids, values, strict=True))
    truths += _read(source) if source is not None else []
    from mlops_box.operations.feedback import feedback

    with open_box(home) as box:
        outcome = feedback(box, model, truths)
    emit(outcome.to_dict(), as_json=as_json, text=f"{outcome.stored:,} truths stored for {outcome.model}")


def _read(path: Path) -> list[tuple[object, object]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    is_json = path.suffix.lower() in (".jsonl", ".ndjson")
    records = _json_lines(text, path) if is_json else list(csv.DictReader(text.splitlines()))
    for number, record in enumerate(records, start=1):
        if not {"id", "value"} <= record.keys():
            raise UsageError(
                f"{path}, record {number} lacks id or value", hint="it needs the columns id and value"
            )
    return [(record["id"], record["value"]) for record in records]


def _json_lines(text: str, path: Path) -> list[dict[str, Any]]:
    records = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}, line {number} is no JSON: {error}") from None
        if not isinstance(record, dict):
            raise UsageError(f"{path}, line {number} is no JSON object")
        records.append(record)
    return records
