"""``mlops-box features materialize [VIEW]``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, read_time, table

if TYPE_CHECKING:
    from datetime import datetime


@click.command("materialize")
@click.argument("view", required=False)
@click.option("--until", "until_text", help="Leave out what happened or was known later [default: nothing].")
@click.option("--direct", is_flag=True, help="Work in this process, without the orchestrator.")
@home_option
@json_option
def command(view: str | None, until_text: str | None, direct: bool, home: Path | None, as_json: bool) -> None:
    """Bring features up to date, in files and online.

    Only what is new is computed; a new view's whole history is. What was interrupted goes on where it ended.
    """
    until = read_time("--until", until_text)
    facts = _directly(view, until, home) if direct else _by_flow(view, until, home)
    headers = ["view", "observations", "online", "parts", "anew", "until"]
    rows = [[item[name] for name in headers] for item in facts["views"]]
    emit(
        facts,
        as_json=as_json,
        text=lambda: table(
            headers, rows, empty="no feature views; mlops-box check registers those of mlops.toml"
        ),
    )


def _by_flow(view: str | None, until: datetime | None, home: Path | None) -> dict[str, Any]:
    from mlops_box.cli.flow_process import flow_outcome
    from mlops_box.clock import isoformat

    arguments = ["--view", view] if view is not None else []
    arguments += ["--until", isoformat(until)] if until is not None else []
    arguments += ["--home", str(home)] if home is not None else []
    return flow_outcome("materialize", arguments)


def _directly(view: str | None, until: datetime | None, home: Path | None) -> dict[str, Any]:
    from mlops_box.operations.features.materialize import materialize
    from mlops_box.progress import TerminalProgress

    with open_box(home) as box, TerminalProgress() as progress:
        return materialize(box, view=view, until=until, progress=progress).to_dict()
