"""``mlops-box why``."""

from __future__ import annotations

from pathlib import Path

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, printable


@click.command("why", short_help="Explain an alert, a model version, a decision, a run or a prediction.")
@click.argument("subject")
@home_option
@json_option
def command(subject: str, home: Path | None, as_json: bool) -> None:
    """Explain an alert, a model version, a decision, a run, a snapshot or a prediction.

    SUBJECT is an id (or its beginning), a version like name@3, or a model's name. Prints the evidence, the limits, the
    values, and what would have changed the outcome.
    """
    from mlops_box.operations.why import explain

    with open_box(home, read_only=True) as box:
        explanation = explain(box, subject)
    emit(
        explanation.to_dict(),
        as_json=as_json,
        text=lambda: "\n".join(_styled(printable(line)) for line in explanation.lines),
    )


def _styled(line: str) -> str:
    return line if line.startswith(" ") else click.style(line, bold=True)
