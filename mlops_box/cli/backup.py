"""``mlops-box backup``."""

from __future__ import annotations

from pathlib import Path

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box


@click.command("backup", short_help="Copy the whole box, consistently, while it runs.")
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--keys", is_flag=True, help="Copy the signing key and tokens too; keep that copy secret.")
@home_option
@json_option
def command(target: Path, keys: bool, home: Path | None, as_json: bool) -> None:
    """Copy the whole box to DIR, consistently, while it runs, and verify the copy.

    DIR must not exist yet. The copy is itself a home: look at it with `mlops-box status --home DIR`; to restore, stop
    the box (`mlops-box down`) and put the copy where the home was. Prefect's own database and logs are not copied: box.db is
    the truth.
    """
    from mlops_box.operations.backup import backup
    from mlops_box.progress import TerminalProgress
    from mlops_box.units import format_size

    with open_box(home) as box, TerminalProgress() as progress:
        report = backup(box, target, keys=keys, progress=progress)
    emit(
        report.to_dict(),
        as_json=as_json,
        text=f"{report.target}: {report.entries} ledger entries, {report.objects} objects "
        f"({format_size(report.size_bytes)}), {report.segments} open segments; copied and verified\n"
        f"ledger head {report.entries}:{report.head}"
        + ("" if keys else "\nkeys were not copied (--keys copies them)"),
    )
