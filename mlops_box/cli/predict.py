"""``mlops-box predict MODEL --row '{...}'``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, table
from mlops_box.errors import UsageError


@click.command("predict")
@click.argument("model")
@click.option(
    "--row", "rows", multiple=True, metavar="JSON", help="One row as a JSON object; may be repeated."
)
@click.option("--in", "source", type=click.Path(path_type=Path), help="JSON lines: one row a line.")
@home_option
@json_option
def command(model: str, rows: tuple[str, ...], source: Path | None, home: Path | None, as_json: bool) -> None:
    """Predict rows with a model.

    MODEL is a name, for its champion, or name@7. The running server answers where there is one, this process
    otherwise; either way the prediction is logged and gets an id for later ground truth.
    """
    asked = [_row(text, where=f"--row {number}") for number, text in enumerate(rows, start=1)]
    asked += _lines(source) if source is not None else []
    if not asked:
        raise UsageError(
            "there is no row to predict", hint="""give --row '{"column": value}' or --in FILE.jsonl"""
        )
    answer = _predict(home, model, asked)
    emit(answer, as_json=as_json, text=lambda: _shown(answer))


def _predict(home: Path | None, model: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    from mlops_box.serving.client import running_server

    with open_box(home) as box:
        server = running_server(box.home.run)
        if server is not None:
            return server.predict(model, rows)
        from mlops_box.operations.predict import predict

        return predict(box, model, rows).to_dict()


def _row(text: str, *, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{where} is no JSON: {error}", hint="""write for example '{"hr": 8, "temp": 0.4}'"""
        ) from None
    if not isinstance(row, dict):
        raise UsageError(f"{where} is no JSON object")
    return row


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"JSON has no {name}, send null")


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    return [_row(line, where=f"{path}, line {n}") for n, line in enumerate(lines, start=1) if line.strip()]


def _shown(answer: dict[str, Any]) -> str:
    probabilities = answer.get("probabilities")
    headers = ["prediction", *[f"p({value})" for value in answer.get("classes", [])], "id"]
    lines = []
    for index, (prediction, id_) in enumerate(zip(answer["predictions"], answer["ids"], strict=True)):
        lines.append([prediction, *(probabilities[index] if probabilities else []), id_])
    return f"{answer['model']}\n" + table(headers, lines, empty="")
