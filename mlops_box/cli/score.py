"""``mlops-box score MODEL --in FILE --out FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box
from mlops_box.progress import TerminalProgress

if TYPE_CHECKING:
    from mlops_box.operations.score import ScoreOutcome


@click.command("score")
@click.argument("model")
@click.option(
    "--in", "source", required=True, type=click.Path(path_type=Path), help="CSV, Parquet, JSON lines, SQLite."
)
@click.option(
    "--out", "target", required=True, type=click.Path(path_type=Path), help="NAME.parquet or NAME.csv."
)
@home_option
@json_option
def command(model: str, source: Path, target: Path, home: Path | None, as_json: bool) -> None:
    """Predict a whole file with a model.

    Rows that break the contract are set aside beside the output, as NAME.quarantine.parquet and NAME.rejects.parquet.
    Interrupted, the same command goes on where it was.
    """
    from mlops_box.operations.score import score

    with open_box(home) as box, TerminalProgress() as progress:
        outcome = score(box, model, source=source, target=target.absolute(), progress=progress)
    emit(outcome.to_dict(), as_json=as_json, text=lambda: _shown(outcome))


def _shown(outcome: ScoreOutcome) -> str:
    lines = [
        f"{outcome.rows_scored:,} of {outcome.rows_in:,} rows scored by {outcome.model}: {outcome.target}"
    ]
    if outcome.quarantine is not None:
        rules = ", ".join(f"{rule} ({rows:,})" for rule, rows in list(outcome.rules.items())[:5])
        lines.append(f"{outcome.rows_quarantined:,} rows broke the contract ({rules}): {outcome.quarantine}")
    if outcome.rejects is not None:
        lines.append(f"{outcome.rows_rejected:,} rows could not be parsed: {outcome.rejects}")
    if outcome.resumed_chunks:
        lines.append(f"{outcome.resumed_chunks} chunks were done already by an interrupted run")
    return "\n".join(lines)
