"""``python -m mlops_box.operations.supervisor``: what ``mlops-box up --detach`` starts."""

from __future__ import annotations

import os
from pathlib import Path

import click

from mlops_box.home import home_from
from mlops_box.operations.prefect_env import external_api
from mlops_box.operations.supervisor.control import log_to_file
from mlops_box.operations.supervisor.specs import UpOptions
from mlops_box.operations.supervisor.supervise import Supervisor
from mlops_box.program import run_program


@click.command()
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--port", type=click.IntRange(1, 65535), required=True)
@click.option("--prefect-port", type=click.IntRange(1, 65535), required=True)
@click.option("--no-scheduler", is_flag=True)
@click.option("--access-log", is_flag=True)
@click.option("--workers", default="1")
@click.option("--host", required=True)
@click.option("--allow-host", "allow_hosts", multiple=True)
@click.option("--require-token", is_flag=True)
@click.option("--grpc-port", type=click.IntRange(1, 65535))
@click.option("--no-grpc", is_flag=True)
def command(
    home: Path,
    port: int,
    prefect_port: int,
    no_scheduler: bool,
    access_log: bool,
    workers: str,
    host: str,
    allow_hosts: tuple[str, ...],
    require_token: bool,
    grpc_port: int | None,
    no_grpc: bool,
) -> None:
    """Supervise the processes of one box until SIGTERM."""
    place = home_from(os.environ, given=home)
    place.create()
    os.umask(0o077)
    options = UpOptions(
        port=port,
        prefect_port=prefect_port,
        scheduler=not no_scheduler,
        access_log=access_log,
        workers=workers,
        external_api=external_api(os.environ),
        host=host,
        allow_hosts=allow_hosts,
        require_token=require_token,
        grpc=not no_grpc,
        grpc_port=grpc_port,
    )
    with log_to_file(place):
        Supervisor(place, options, environ=os.environ).run()


if __name__ == "__main__":
    run_program(command)
