"""``mlops-box features parity MODEL``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, printable, read_time, table
from mlops_box.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from mlops_box.operations.features.parity import ParityOutcome

_SHOWN = 20


@click.command("parity")
@click.argument("model")
@click.option(
    "--since", "since_text", metavar="TIME", help="Predictions about this time or later [default: all]."
)
@click.option(
    "--until", "until_text", metavar="TIME", help="Predictions about an earlier time [default: all]."
)
@click.option(
    "--sample", metavar="SHARE", help="How many to compare, as 10% or 0.1 [default: as declared, or 10%]."
)
@home_option
@json_option
def command(
    model: str,
    since_text: str | None,
    until_text: str | None,
    sample: str | None,
    home: Path | None,
    as_json: bool,
) -> ExitCode:
    """Recompute the features of logged predictions, and name every value that was served otherwise, with the likely cause.

    MODEL may name one version. Ends with exit code 4 where more values differ than [features.parity] tolerance allows.
    """
    from mlops_box.operations.features.parity import check_parity

    since, until = read_time("--since", since_text), read_time("--until", until_text)
    share = _read_share(sample)
    with open_box(home) as box:
        found = check_parity(box, model, since=since, until=until, sample=share)
    emit(found.to_dict(), as_json=as_json, text=lambda: _text(found))
    return ExitCode.GATE if found.outcome == "broken" else ExitCode.OK


def _read_share(text: str | None) -> float | None:
    from mlops_box.units import parse_share

    if text is None:
        return None
    try:
        return parse_share(text)
    except ValueError as error:
        raise UsageError(f"--sample: {error}") from None


def _text(found: ParityOutcome) -> str:
    verdict = {"fine": "parity holds", "broken": "parity is broken", "cannot_tell": "cannot tell"}[
        found.outcome
    ]
    head = f"{found.model}: {verdict} ({found.rows} of {found.predictions} predictions with looked-up features compared)"
    if found.redacted:
        head += f"\n{found.redacted} redacted: their entity is not logged ([serve] redact), so nothing is recomputed"
    if found.hidden:
        head += f"\nredacted: the values of {', '.join(found.hidden)} are not logged, and not compared"
    if not found.columns:
        return head
    columns = [
        (one.column, one.rows, one.mismatches, f"{one.share:.2%}", one.max_difference,
         ", ".join(f"{cause} {count}" for cause, count in one.causes.items()) or None)
        for one in found.columns
    ]  # fmt: skip
    headers = ["feature", "rows", "differ", "share", "most", "causes"]
    parts = [click.style(head, bold=True), table(headers, columns, empty="")]
    if found.mismatches:
        rows = [
            (one.id, one.column, one.logged, one.recomputed, one.cause, one.because)
            for one in found.mismatches[:_SHOWN]
        ]
        parts.append(
            table(["prediction", "feature", "served", "recomputed", "cause", "because"], rows, empty="")
        )
    more = len(found.mismatches) - _SHOWN
    if more > 0:
        parts.append(printable(f"and {more} more: --json shows all"))
    return "\n\n".join(parts)
