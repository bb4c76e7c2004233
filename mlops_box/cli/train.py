"""``mlops-box train``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mlops_box.cli.common import home_option, json_option, open_box, project_option, read_project
from mlops_box.errors import BoxError, ExitCode


@click.command("train", short_help="Train, evaluate, gate and register a model version.")
@project_option
@click.option("--snapshot", help="Train on this snapshot instead of reading the source anew.")
@click.option("--direct", is_flag=True, help="Train in this process, without the orchestrator.")
@home_option
@json_option
def command(project: Path, snapshot: str | None, direct: bool, home: Path | None, as_json: bool) -> int:
    """Train, evaluate, gate and register a model version.

    The data are checked against their contract first. A version that passes its gates becomes champion at once; one that
    fails is kept as rejected, and the exit code is 4.
    """
    loaded = read_project(project)
    arguments = ["--project", str(loaded.folder)]
    arguments += ["--home", str(home)] if home is not None else []
    arguments += ["--snapshot", snapshot] if snapshot is not None else []
    if as_json and not direct:
        from mlops_box.cli.flow_process import run_flow

        return run_flow("train", [*arguments, "--json"])
    try:
        facts = _directly(loaded, snapshot, home) if direct else _by_flow(arguments)
    except BoxError as error:
        if not as_json and error.exit_code == ExitCode.GATE:
            click.echo(_rejected_text(error.details))
        raise
    click.echo(json.dumps(facts, default=str, ensure_ascii=False) if as_json else _text(facts))
    return int(ExitCode.OK)


def _by_flow(arguments: list[str]) -> dict[str, Any]:
    from mlops_box.cli.flow_process import flow_outcome

    return flow_outcome("train", arguments)


def _directly(project: Any, snapshot: str | None, home: Path | None) -> dict[str, Any]:
    from mlops_box.operations.locks import held
    from mlops_box.operations.train import train
    from mlops_box.progress import TerminalProgress

    with open_box(home) as box, TerminalProgress() as progress:

        def waiting() -> None:
            progress.begin("waiting for another training")
            progress.end()

        # The same lane as the flow's: one training at a time in a box.
        with held(box.home.run / "train.lane", waiting=waiting):
            return train(box, project, progress=progress, snapshot_id=snapshot).to_dict()


def _text(facts: dict[str, Any]) -> str:
    from mlops_box.cli.version_text import gates_text, metrics_text

    ref = facts["version"]
    serves = "is the champion now" if facts["promoted"] else "was accepted, and is not the champion"
    parts = [
        click.style(f"{ref} {serves}", bold=True),
        metrics_text(facts["metrics"], facts["champion"]),
        "gates\n" + gates_text(facts["gates"]),
    ]
    if facts["notes"]:
        parts.append("notes\n" + "\n".join(f"  {note}" for note in facts["notes"]))
    model = facts["model"]
    commands = [
        (f"mlops-box models card {ref}", "write its card"),
        ("mlops-box up", f"serve {model}"),
        (f"mlops-box predict {model} --row '{{...}}'", "ask it"),
    ]
    width = max(len(typed) for typed, _ in commands)
    parts.append("next\n" + "\n".join(f"  {typed.ljust(width)}  {what}" for typed, what in commands))
    return "\n\n".join(parts)


def _rejected_text(details: dict[str, Any]) -> str:
    from mlops_box.cli.version_text import gates_text, metrics_text

    if "gates" not in details:
        return ""
    return "\n\n".join(
        [
            click.style(f"{details['version']} was rejected", bold=True),
            metrics_text(details["metrics"], details.get("champion")),
            "gates\n" + gates_text(details["gates"]),
        ]
    )
