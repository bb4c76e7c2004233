"""The box's Prefect server: ``python -m mlops_box_flows.server --home HOME --port PORT``.

One a home, held by a lock: two servers on one SQLite file lock each other out and schedule everything twice. It
listens on 127.0.0.1 only, and announces itself in ``run/prefect.json`` once it answers. With ``--while-used`` it
serves flows that run in place and stops by itself when the last of them is gone, however it went.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from mlops_box.errors import BusyError
from mlops_box.home import Home, home_from
from mlops_box.operations.locks import FileLock
from mlops_box.operations.prefect_env import (
    LOOPBACK,
    PrefectServer,
    api_secret,
    own_environment,
    write_server,
)
from mlops_box.program import run_program
from mlops_box.runs import this_process

SERVER_LOCK = "prefect.lock"
USERS_LOCK = "prefect.users"
# The server of flows in place ends within four seconds of the last of them, on an idle machine.
TAKEOVER_S = 15.0


@click.command()
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--port", type=click.IntRange(1, 65535), required=True)
@click.option("--while-used", is_flag=True, help="Stop when no flow that runs in place is left.")
def command(home: Path, port: int, while_used: bool) -> None:
    """Serve the Prefect API of one box."""
    place = home_from(os.environ, given=home)
    place.create()
    os.umask(0o077)
    lock = FileLock(place.run / SERVER_LOCK)
    take_over(lock, place, patience_s=0.0 if while_used else TAKEOVER_S)
    listener = _listen(port)
    # Settings are read when Prefect is imported.
    environment = own_environment(place, port=port, secret=api_secret(place), environ=os.environ)
    os.environ.clear()
    os.environ.update(environment)
    # uvicorn raises the signal again once it has shut down; the default handler would end us before we tidy up.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    asyncio.run(_serve(place, port, listener, while_used=while_used))


def take_over(lock: FileLock, home: Home, *, patience_s: float) -> None:
    """Take the home's server lock: ``up`` right after a flow in place finds that flow's server on its way out.

    Raises:
        BusyError: It is still held after ``patience_s``.
    """
    deadline = time.monotonic() + patience_s
    while not lock.try_acquire():
        if time.monotonic() >= deadline:
            raise BusyError(f"a Prefect server of {home.root} runs already", hint="mlops-box status")
        time.sleep(0.1)


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError as error:
        listener.close()
        raise BusyError(
            f"port {port} cannot be used for Prefect: {error.strerror}", hint="choose another: --prefect-port"
        ) from error
    return listener


async def _serve(home: Home, port: int, listener: socket.socket, *, while_used: bool) -> None:
    import uvicorn
    from prefect.server.api.server import create_app

    config = uvicorn.Config(
        create_app(final=True),
        timeout_keep_alive=5,
        # Event streams never end by themselves.
        timeout_graceful_shutdown=3,
        log_level="warning",
    )
    server = uvicorn.Server(config)
    watchers = [asyncio.create_task(_announce(home, port, server))]
    if while_used:
        watchers.append(asyncio.create_task(_stop_when_unused(home, server)))
    try:
        await server.serve(sockets=[listener])
    finally:
        for watcher in watchers:
            watcher.cancel()
        (home.run / "prefect.json").unlink(missing_ok=True)


async def _announce(home: Home, port: int, server: object) -> None:
    await _until(lambda: bool(getattr(server, "started", False)))
    write_server(home, PrefectServer(port, this_process()))


async def _stop_when_unused(home: Home, server: object) -> None:
    """Users hold a shared lock. Getting it alone means there is none; new ones wait until this server is gone."""
    users = FileLock(home.run / USERS_LOCK)
    await _until(users.try_acquire)
    server.should_exit = True  # type: ignore[attr-defined]


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.25)


if __name__ == "__main__":
    run_program(command)
