"""``mlops-box check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, project_option, read_project, table

if TYPE_CHECKING:
    from mlops_box.operations.check import CheckOutcome


@click.command("check", short_help="Check a project's data against its contract and mint a snapshot.")
@project_option
@home_option
@json_option
def command(project: Path, home: Path | None, as_json: bool) -> None:
    """Check a project's data against its contract and mint a snapshot.

    Bad rows go to quarantine; a batch with too many of them, or that breaks a batch rule, is refused (exit code 3).
    """
    from mlops_box.operations.check import check
    from mlops_box.progress import TerminalProgress

    declared = read_project(project)
    with open_box(home) as box, TerminalProgress() as progress:
        outcome = check(box, declared, progress=progress)
    emit(outcome.to_dict(), as_json=as_json, text=lambda: _text(outcome))


def _text(outcome: CheckOutcome) -> str:
    from mlops_box.data.gate import examples_text

    snapshot, verdict = outcome.snapshot, outcome.verdict
    lines = [
        f"snapshot {snapshot.id[:12]}: {snapshot.rows:,} rows, {len(snapshot.schema)} columns"
        + ("" if outcome.new else " (the same data as before)")
    ]
    if snapshot.time_min and snapshot.time_max:
        lines.append(f"from {snapshot.time_min:%Y-%m-%d %H:%M} to {snapshot.time_max:%Y-%m-%d %H:%M}")
    lines.append(
        f"{verdict.rows_in:,} rows came in: {verdict.rows_good:,} good, {verdict.rows_quarantined:,} in quarantine, "
        f"{verdict.rows_rejected:,} rejected"
    )
    if verdict.row_rules:
        rows = [(hit.rule, hit.rows, examples_text(hit, most=1)) for hit in verdict.row_rules]
        lines += ["", table(["broken rule", "rows", "for example"], rows, empty="")]
        lines.append(f"see them: mlops-box data quarantine {snapshot.id[:12]}")
    return "\n".join(lines)
