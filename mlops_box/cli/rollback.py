"""``mlops-box rollback``."""

from __future__ import annotations

from pathlib import Path

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box


@click.command("rollback", short_help="Put the previous champion back.")
@click.argument("model")
@click.option("--reason", required=True, help="Why; it stands in the ledger.")
@home_option
@json_option
def command(model: str, reason: str, home: Path | None, as_json: bool) -> None:
    """Put the previous champion back; a running server answers with it within a second."""
    from mlops_box.ids import check_name
    from mlops_box.operations.promote import roll_back

    check_name(model, what="model name")
    with open_box(home) as box:
        outcome = roll_back(box, model, reason=reason)
    emit(
        outcome.to_dict(),
        as_json=as_json,
        text=f"{outcome.version.ref} is the champion again, instead of {outcome.before}",
    )
