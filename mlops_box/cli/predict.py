"""``mlops-box predict MODEL --entity card_id=7 --row '{...}'``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, table
from mlops_box.cli.features_lookup import read_entity
from mlops_box.errors import UsageError


@click.command("predict")
@click.argument("model")
@click.option(
    "--row", "rows", multiple=True, metavar="JSON", help="One row as a JSON object; may be repeated."
)
@click.option(
    "--entity",
    "entities",
    multiple=True,
    metavar="KEY=VALUE",
    help="Look the features of this entity up; once a row, in the order of the rows. Several keys: KEY=VALUE,KEY=VALUE, or "
    "a JSON object.",
)
@click.option("--in", "source", type=click.Path(path_type=Path), help="JSON lines: one row a line.")
@click.option("--explain", is_flag=True, help="Show the features that were looked up, and how old they are.")
@home_option
@json_option
def command(
    model: str,
    rows: tuple[str, ...],
    entities: tuple[str, ...],
    source: Path | None,
    explain: bool,
    home: Path | None,
    as_json: bool,
) -> None:
    """Predict rows with a model.

    MODEL is a name, for its champion, or name@7. The running server answers where there is one, this process
    otherwise; either way the prediction is logged and gets an id for later ground truth.
    """
    asked = [_row(text, where=f"--row {number}") for number, text in enumerate(rows, start=1)]
    asked += _lines(source) if source is not None else []
    named = [_entity(text, where=f"--entity {number}") for number, text in enumerate(entities, start=1)]
    if named and not rows and source is None:
        asked = [{} for _ in named]
    if not asked:
        raise UsageError(
            "there is no row to predict",
            hint="""give --row '{"column": value}', --entity KEY=VALUE, or --in FILE.jsonl""",
        )
    answer = _predict(home, model, asked, named, explain=explain)
    emit(answer, as_json=as_json, text=lambda: _shown(answer))


def _predict(
    home: Path | None,
    model: str,
    rows: list[dict[str, Any]],
    named: list[dict[str, Any]],
    *,
    explain: bool,
) -> dict[str, Any]:
    from mlops_box.serving.client import running_server

    with open_box(home) as box:
        entities = None
        if named:
            from mlops_box.operations.predict import read_entities

            entities = read_entities(box, model, named)
        server = running_server(box.home.run)
        if server is not None:
            return server.predict(model, rows, entities=entities, explain=explain)
        from mlops_box.operations.predict import predict

        return predict(box, model, rows, entities=entities, explain=explain).to_dict()


def _entity(text: str, *, where: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        return _row(text, where=where)
    given: dict[str, Any] = {}
    for part in text.split(","):
        for name, value in read_entity((part,)).items():
            if name in given:
                raise UsageError(f"{where} has the key {name!r} twice")
            given[name] = value
    return given


def _row(text: str, *, where: str) -> dict[str, Any]:
    from mlops_box.operations.try_request import read_row

    return read_row(text, where=where)


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
    shown = f"{answer['model']}\n" + table(headers, lines, empty="")
    return f"{shown}\n\n{_looked_up(answer['features'])}" if "features" in answer else shown


def _looked_up(features: list[dict[str, Any]] | None) -> str:
    if features is None:
        return "nothing was looked up: the rows came whole"
    lines = []
    for told in features:
        entity = ", ".join(f"{name}={value}" for name, value in told["entity"].items())
        for name, value in told["features"].items():
            # A column of the model is view__feature.
            age_s = told["views"][name.partition("__")[0]]["age_s"]
            lines.append([entity, name, value, f"{age_s:,.1f} s" if age_s is not None else "?"])
    return table(["entity", "feature", "value", "age"], lines, empty="")
