"""``mlops-box report``."""

from __future__ import annotations

from pathlib import Path

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box


@click.command("report", short_help="Write a model's life over time as one HTML page.")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="The file [default: MODEL-report.html].")
@click.option("--from", "since", metavar="TIME", help="Only windows after this: 2026-01-31, or an ISO time.")
@click.option("--svg", type=click.Path(path_type=Path), help="Write only the timeline, as a picture.")
@home_option
@json_option
def command(
    name: str, out: Path | None, since: str | None, svg: Path | None, home: Path | None, as_json: bool
) -> None:
    """Write a model's life over time as one HTML page: drift, quality, versions, rollouts, decisions, alerts.

    NAME is a model's or a project's.
    """
    from mlops_box.cli.common import read_time
    from mlops_box.operations.report import write_picture, write_report

    with open_box(home, read_only=True) as box:
        begin = read_time("--from", since)
        outcome = (
            write_picture(box, name, out=svg, since=begin)
            if svg is not None
            else write_report(box, name, out=out, since=begin)
        )
    emit(
        outcome.to_dict(),
        as_json=as_json,
        text=f"{outcome.file}: {outcome.windows} windows, {outcome.versions} versions, {outcome.rollouts} rollouts",
    )
