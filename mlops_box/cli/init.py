"""``mlops-box init``."""

from __future__ import annotations

from pathlib import Path

import click

from mlops_box.cli.common import emit, json_option, table


@click.command("init", short_help="Make a project from a data file.")
@click.argument("name")
@click.option(
    "--from", "source", required=True, type=click.Path(path_type=Path), help="The data: a file or a glob."
)
@click.option("--target", required=True, help="The column to predict.")
@click.option("--time", help="The column of the event time: the newest rows are then held out.")
@click.option(
    "--features", "entity", metavar="ENTITY", help="Add a feature view of what this column names, by --time."
)
@click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), help="The project's folder [default: ./NAME]."
)
@json_option
def command(
    name: str,
    source: Path,
    target: str,
    time: str | None,
    entity: str | None,
    into: Path | None,
    as_json: bool,
) -> None:
    """Make a project from a data file.

    Writes mlops.toml with a contract inferred from the data, train.py, a test and a CI workflow, and says why each was
    chosen so. Nothing is overwritten.
    """
    from mlops_box.ids import check_name
    from mlops_box.operations.init import init_project
    from mlops_box.progress import TerminalProgress

    check_name(name, what="project name")
    with TerminalProgress() as progress:
        progress.begin("read the data")
        report = init_project(
            into or Path(name), source=source, name=name, target=target, time=time, entity=entity
        )
        progress.end()

    def text() -> str:
        rows = [(choice.about, choice.chosen, choice.why) for choice in report.choices]
        names = table(["features"], [(feature,) for feature in report.features], empty="").splitlines()
        return "\n".join(
            [
                f"{report.folder} from {report.rows:,} rows: " + ", ".join(report.files),
                "",
                table(["about", "chosen", "why"], rows, empty=""),
                "",
                ", ".join(names[1:]) + " -> " + report.task,
                "",
                f"next: cd {report.folder} && mlops-box check && mlops-box train",
            ]
        )

    emit(report.to_dict(), as_json=as_json, text=text)
