"""``mlops-box features lookup VIEW KEY=VALUE``."""

from __future__ import annotations

from pathlib import Path

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, read_time, table
from mlops_box.errors import UsageError


@click.command("lookup")
@click.argument("view")
@click.argument("entity", nargs=-1, required=True)
@click.option("--version", type=int, help="Of the view [default: the newest].")
@click.option("--at", "at_text", help="The moment to look at [default: now].")
@home_option
@json_option
def command(
    view: str,
    entity: tuple[str, ...],
    version: int | None,
    at_text: str | None,
    home: Path | None,
    as_json: bool,
) -> None:
    """Show the features of one entity, as a model would see them.

    ENTITY is written as COLUMN=VALUE, once for each column that names an entity of VIEW.
    """
    given = read_entity(entity)
    from mlops_box.operations.features.lookup import look_up

    with open_box(home) as box:
        found = look_up(box, view, given, version=version, at=read_time("--at", at_text)).to_dict()
    age = f"{found['age_s']:,.1f} s old" if found["age_s"] is not None else "no observation"
    emit(
        found,
        as_json=as_json,
        text=lambda: (
            f"{found['view']}@{found['version']}, {age}\n"
            + table(["feature", "value"], found["features"].items(), empty="")
        ),
    )


def read_entity(texts: tuple[str, ...]) -> dict[str, str]:
    """Column to value of an entity written as COLUMN=VALUE, once for each column.

    Raises:
        UsageError: A text is of another form.
    """
    given = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{text!r} names no entity", hint="write COLUMN=VALUE, for example card_id=7")
        given[name] = value
    return given
