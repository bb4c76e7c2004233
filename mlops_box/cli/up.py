"""``mlops-box up``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_box.cli.common import emit, home_option, json_option

if TYPE_CHECKING:
    from mlops_box.home import Home
    from mlops_box.operations.supervisor.specs import UpOptions
    from mlops_box.operations.supervisor.state import UpState

_PORT = click.IntRange(0, 65535)


@click.command("up", short_help="Start the scheduler, the runner and the inference server.")
@click.option("--detach", is_flag=True, help="Return once everything is ready; `mlops-box down` stops it.")
@click.option("--port", type=_PORT, help="Of the inference server; 0 for a free one [default: 8321].")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Where the inference server listens; wider needs a token.",
)
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="A name it is called by from elsewhere.",
)
@click.option(
    "--grpc-port",
    type=_PORT,
    help="Of gRPC beside HTTP; 0 for a free one [default: the one after --port, or a free one].",
)
@click.option("--no-grpc", is_flag=True, help="HTTP only.")
@click.option("--require-token", is_flag=True, help="Ask for tokens on the loopback interface as well.")
@click.option(
    "--prefect-port", type=click.IntRange(1, 65535), help="Of the box's own Prefect [default: a free one]."
)
@click.option("--no-scheduler", is_flag=True, help="Only the inference server: no schedules, no Prefect.")
@click.option(
    "--access-log/--no-access-log",
    default=False,
    show_default=True,
    help="A JSON line for every request, in logs/access.log.",
)
@click.option(
    "--workers",
    default="1",
    show_default=True,
    metavar="N|auto|MIN-MAX",
    help="Processes that answer; auto grows and shrinks with the traffic, up to one a processor.",
)
@home_option
@json_option
def command(
    detach: bool,
    port: int | None,
    grpc_port: int | None,
    no_grpc: bool,
    host: str,
    allow_hosts: tuple[str, ...],
    require_token: bool,
    prefect_port: int | None,
    no_scheduler: bool,
    access_log: bool,
    workers: str,
    home: Path | None,
    as_json: bool,
) -> None:
    """Start the scheduler, the runner and the inference server, and keep them alive.

    Everything listens on 127.0.0.1, unless --host says so for the inference server, which then asks for a token: see
    `mlops-box tokens`. With PREFECT_API_URL set, schedules go to that Prefect server and the box starts
    none of its own. Runs in the foreground until Ctrl-C; with --detach in the background.
    """
    from mlops_box.home import home_from
    from mlops_box.operations.supervisor.control import options_for

    place = home_from(os.environ, given=home)
    place.create()
    options = options_for(
        place,
        os.environ,
        port=port,
        prefect_port=prefect_port,
        scheduler=not no_scheduler,
        access_log=access_log,
        workers=workers,
        host=host,
        allow_hosts=allow_hosts,
        require_token=require_token,
        grpc=not no_grpc,
        grpc_port=grpc_port,
    )
    if detach:
        _in_background(place, options, as_json=as_json)
    else:
        _in_foreground(place, options, as_json=as_json)


def _in_background(place: Home, options: UpOptions, *, as_json: bool) -> None:
    from mlops_box.operations.supervisor.control import start_detached
    from mlops_box.progress import TerminalProgress

    with TerminalProgress() as progress:
        state = start_detached(place, options, progress)
    emit(_ready(state, place), as_json=as_json, text=lambda: _ready_text(state, place, detached=True))


def _in_foreground(place: Home, options: UpOptions, *, as_json: bool) -> None:
    from mlops_box.operations.supervisor.control import check_startable, log_to_file, show_waiting
    from mlops_box.operations.supervisor.supervise import Supervisor
    from mlops_box.progress import TerminalProgress

    check_startable(place, options)
    os.umask(0o077)
    with TerminalProgress() as progress, log_to_file(place):
        shown = ""
        announced = False

        def on_change(state: UpState) -> None:
            nonlocal shown, announced
            if state.phase == "starting":
                shown = show_waiting(state, shown, progress)
            elif state.phase == "ready" and not announced:
                announced = True
                progress.end()
                emit(_ready(state, place), as_json=as_json, text=_ready_text(state, place, detached=False))
            elif state.phase == "stopping" and shown != "stopping":
                shown = "stopping"
                progress.begin("stopping")

        Supervisor(place, options, environ=os.environ, on_change=on_change).run()


def _ready(state: UpState, place: Home) -> dict[str, Any]:
    return state.to_dict() | {"grpc": _grpc(place)}


def _grpc(place: Home) -> str | None:
    from mlops_box.serving.address import ServerAddress

    address = ServerAddress.read(place.run)
    return address.grpc_target if address is not None else None


def _ready_text(state: UpState, place: Home, *, detached: bool) -> str:
    scheduler = state.prefect_api or "off"
    return "\n".join(
        [
            click.style("up", fg="green", bold=True) + f"  home {place.root}",
            f"  endpoint   {state.url}   (OpenAPI: {state.url}/docs.json)",
            f"  gRPC       {_grpc(place) or 'off'}",
            f"  scheduler  {scheduler}",
            f"  logs       {place.logs}",
            "  stop it with: " + ("mlops-box down" if detached else "Ctrl-C"),
        ]
    )
