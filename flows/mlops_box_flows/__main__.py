"""Run one flow in place: ``python -m mlops_box_flows train --project DIR``.

Errors, exit codes and ``--json`` are those of ``mlops-box``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from mlops_box.errors import BoxError, ExitCode, SourceError, UsageError
from mlops_box.home import Home, home_from
from mlops_box.ids import parse_ref
from mlops_box.interrupt import end_interrupted
from mlops_box.operations.prefect_env import external_api
from mlops_box.program import show_error
from mlops_box.progress import TerminalProgress
from mlops_box_flows.caller import CALLER, Caller

Start = Callable[[Home], Coroutine[Any, Any, Any]]

_home = click.option("--home", type=click.Path(path_type=Path, file_okay=False), help="The box's home.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
_trigger = click.option("--trigger", default="manual", show_default=True, help="Who asked.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Run one of the box's flows in this process."""


@command.command()
@click.option("--project", type=click.Path(path_type=Path), default=Path(), help="The project's folder.")
@click.option("--snapshot", help="Train on this snapshot instead of reading the source.")
@click.option("--idempotency-key", help="At most one run of this key ever starts.")
@_home
@_trigger
@_json
def train(
    project: Path,
    snapshot: str | None,
    idempotency_key: str | None,
    home: Path | None,
    trigger: str,
    as_json: bool,
) -> None:
    """Train, evaluate, gate and register a model version."""
    from mlops_box.project import load_project

    loaded = load_project(project)

    async def start(place: Home) -> Any:
        from mlops_box_flows.train import train as flow

        return await flow(
            project=loaded.name,
            folder=str(loaded.folder),
            home=str(place.root),
            trigger=trigger,
            idempotency_key=idempotency_key,
            snapshot_id=snapshot,
            return_state=True,
        )

    _run(home, start, as_json=as_json)


@command.command()
@click.argument("model")
@click.option("--in", "source", type=click.Path(path_type=Path), required=True, help="The file to read.")
@click.option("--out", "target", type=click.Path(path_type=Path), required=True, help="The file to write.")
@_home
@_trigger
@_json
def score(model: str, source: Path, target: Path, home: Path | None, trigger: str, as_json: bool) -> None:
    """Predict a whole file."""
    parse_ref(model)
    if not source.is_file():
        raise SourceError(f"there is no file {source}", hint="name the file to predict with --in")

    async def start(place: Home) -> Any:
        from mlops_box_flows.score import score as flow

        return await flow(
            model=model,
            source=str(source.absolute()),
            target=str(target.absolute()),
            home=str(place.root),
            trigger=trigger,
            return_state=True,
        )

    _run(home, start, as_json=as_json)


@command.command()
@click.option("--project", type=click.Path(path_type=Path), help="Only this project's model.")
@click.option("--model", help="Only this model [default: all].")
@_home
@_trigger
@_json
def monitor(project: Path | None, model: str | None, home: Path | None, trigger: str, as_json: bool) -> None:
    """Compare live traffic with the reference, alert, decide."""
    from mlops_box.project import load_project

    name = model or (load_project(project).model_name if project is not None else None)

    async def start(place: Home) -> Any:
        from mlops_box.operations.supervisor.state import read_state
        from mlops_box_flows.monitor import monitor as flow

        # Without a runner, a flow run of the deployment would wait for the next `up`: train here instead.
        state = read_state(place)
        served = external_api(os.environ) is not None or (state is not None and state.serves_deployments)
        return await flow(
            home=str(place.root),
            model=name,
            subject=name or "all",
            trigger=trigger,
            launch="deployment" if served else "here",
            return_state=True,
        )

    _run(home, start, as_json=as_json)


@command.command()
@click.option("--view", help="Only this feature view [default: all].")
@click.option("--until", help="Leave out what happened or was known later.")
@_home
@_trigger
@_json
def materialize(view: str | None, until: str | None, home: Path | None, trigger: str, as_json: bool) -> None:
    """Bring features up to date, in files and online."""
    from mlops_box.data.times import parse_time_text

    moment = parse_time_text(until) if until is not None else None
    if until is not None and moment is None:
        raise UsageError(f"--until {until!r} is no time", hint="write 2026-01-31T12:00:00Z")

    async def start(place: Home) -> Any:
        from mlops_box_flows.materialize import materialize as flow

        return await flow(
            home=str(place.root),
            view=view,
            until=moment,
            subject=view or "all",
            trigger=trigger,
            return_state=True,
        )

    _run(home, start, as_json=as_json)


@command.command()
@_home
@_trigger
@_json
def housekeeping(home: Path | None, trigger: str, as_json: bool) -> None:
    """Sweep, close, seal, prune, verify."""

    async def start(place: Home) -> Any:
        from mlops_box_flows.housekeeping import housekeeping as flow

        return await flow(home=str(place.root), trigger=trigger, return_state=True)

    _run(home, start, as_json=as_json)


def _run(home: Path | None, start: Start, *, as_json: bool) -> None:
    """Run a flow with a progress display; print its outcome; raise its error."""
    from mlops_box_flows.place import prefect_api

    place = home_from(os.environ, given=home)
    place.create()
    caller = Caller(in_place=True)
    with TerminalProgress() as progress:
        caller.progress = progress
        with prefect_api(place, progress) as environment:
            # People read the error below; Prefect's own lines, tracebacks included, stay in its log.
            quiet = (
                {}
                if "PREFECT_LOGGING_LEVEL" in os.environ
                else {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
            )
            os.environ.clear()
            os.environ.update(environment | quiet)
            CALLER.set(caller)
            _drive(place, start, caller)
    if caller.interrupted:
        raise KeyboardInterrupt
    if caller.error is not None:
        raise caller.error
    facts = caller.outcome.to_dict()
    if as_json:
        click.echo(json.dumps(facts, default=str, ensure_ascii=False))
        return
    from mlops_box_flows.text import as_text

    click.echo(as_text(facts))


def _drive(place: Home, start: Start, caller: Caller) -> None:
    import httpx
    from prefect import tags
    from prefect.exceptions import PrefectException

    from mlops_box_flows.tagging import box_tag

    async def main() -> Any:
        with tags(box_tag(place), "in-place"):
            return await start(place)

    try:
        state = asyncio.run(main())
    except (httpx.HTTPError, PrefectException) as error:
        if caller.outcome is None and caller.error is None:
            from mlops_box.errors import UnavailableError

            raise UnavailableError(f"Prefect does not answer: {error}", hint="mlops-box status") from error
        # The operation is done and recorded in box.db: that its last state did not reach Prefect is a note.
        click.echo(f"note: Prefect did not take the run's last state: {error}", err=True)
        return
    if caller.outcome is None and caller.error is None and not caller.interrupted:
        # A bug: let the exception itself come out.
        state.result(raise_on_failure=True)
        raise RuntimeError(f"the flow ended as {state.name}: {state.message}")


def main() -> None:
    """Entry point: the error shapes and exit codes of ``mlops-box``."""
    as_json = "--json" in sys.argv[1:]
    try:
        command.main(prog_name="python -m mlops_box_flows", standalone_mode=False)
    except BoxError as error:
        show_error(error.to_dict(), as_json=as_json)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        body = {"code": "usage", "message": error.format_message(), "hint": "--help", "details": {}}
        show_error({"error": body}, as_json=as_json)
        sys.exit(ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        end_interrupted()


if __name__ == "__main__":
    main()
