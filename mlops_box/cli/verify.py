"""``mlops-box verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box

if TYPE_CHECKING:
    from mlops_box.operations.verify import VerifyReport


@click.command("verify", short_help="Verify the ledger, the database and every stored object.")
@click.option(
    "--head",
    metavar="SEQ:HASH",
    help="A ledger head noted earlier (mlops-box ledger head); shows whether entries were cut off since.",
)
@home_option
@json_option
def command(head: str | None, home: Path | None, as_json: bool) -> None:
    """Verify the ledger, the database and every stored object.

    Checks the hash chain of the ledger, the database's own integrity, the SHA-256 of every object, and that every
    object something refers to is there. Names the first broken entry, exits 7 if there is one, and changes nothing.
    """
    from mlops_box.operations.verify import verify
    from mlops_box.progress import TerminalProgress

    noted = _parse_head(head)
    with open_box(home, read_only=True) as box, TerminalProgress() as progress:
        report = verify(box, head=noted, progress=progress)
    if report.problems and not as_json:
        for problem in report.problems[:20]:
            click.echo(f"✗ {problem.where}: {problem.what}", err=True)
    report.raise_if_broken()
    emit(report.to_dict(), as_json=as_json, text=lambda: _story(report))


def _story(report: VerifyReport) -> str:
    from mlops_box.units import format_size

    return "\n".join(
        [
            f"ledger    {report.entries} entries, unbroken; head {report.entries}:{report.head}",
            "database  sound",
            f"objects   {report.objects} ({format_size(report.size_bytes)}), all as their names say",
            f"links     {report.references} references, all answered",
        ]
    )


def _parse_head(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    seq, separator, digest = text.partition(":")
    if not separator or not seq.isdecimal() or not digest:
        raise click.BadParameter("write SEQ:HASH as `mlops-box ledger head` prints it", param_hint="--head")
    return int(seq), digest
