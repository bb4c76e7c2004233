"""``python -m mlops_box_services --home DIR --port N``: one inference server, without BentoML's supervisor.

That supervisor opens a local control port that runs commands without asking who calls, and takes up to ten seconds to
notice a dead worker.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from mlops_box.box import Box
from mlops_box.errors import BoxError, BusyError, ExitCode, UsageError
from mlops_box.home import Home, home_from
from mlops_box.serving.access import MAX_CONNECTIONS, access_for, check_tokens, reached_at
from mlops_box.serving.address import ServerAddress
from mlops_box.serving.client import ServerClient
from mlops_box.serving.local_token import make_local_token, remove_local_token
from mlops_box.serving.worker_bounds import WorkerBounds
from mlops_box_services.grpc_port import parse_place, place_text, reserve
from mlops_box_services.options import ServerOptions

log = logging.getLogger("mlops_box_services")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), help="The box's home.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Where it listens; a wider address asks for tokens.",
)
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="A name it is called by from elsewhere.",
)
@click.option("--require-token", is_flag=True, help="Ask for tokens on the loopback interface as well.")
@click.option(
    "--max-connections",
    default=MAX_CONNECTIONS,
    show_default=True,
    type=click.IntRange(16),
    help="Open at once, a process.",
)
@click.option(
    "--port", default=0, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free port."
)
@click.option(
    "--grpc-port",
    type=click.IntRange(0, 65535),
    help="0 takes a free port [default: the one after --port, or a free one].",
)
@click.option("--grpc/--no-grpc", default=True, help="Speak gRPC too.")
@click.option(
    "--access-log/--no-access-log", default=False, help="A JSON line a request, in logs/access.log."
)
@click.option(
    "--workers",
    default="1",
    show_default=True,
    metavar="N|auto|MIN-MAX",
    help="Processes that answer; auto grows and shrinks with the traffic, up to one a processor.",
)
@click.option("--calm", "calm_s", default=60.0, hidden=True, help="Seconds of calm before a worker goes.")
@click.option("--member", hidden=True, help="This process is a worker: NUMBER:FD:FD:PARENT.")
@click.option("--grpc-at", hidden=True, help="Where a worker speaks gRPC, beside the others: ADDRESS:PORT.")
@click.pass_obj
def command(
    arguments: list[str],
    home: Path | None,
    host: str,
    allow_hosts: tuple[str, ...],
    require_token: bool,
    max_connections: int,
    port: int,
    grpc_port: int | None,
    grpc: bool,
    grpc_at: str | None,
    access_log: bool,
    workers: str,
    calm_s: float,
    member: str | None,
) -> None:
    """Serve the champions of a box over HTTP and gRPC."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    os.umask(0o077)
    place = home_from(os.environ, given=home)
    place.create()
    access = access_for(
        host, allow_hosts=allow_hosts, require_token=require_token, connections=max_connections
    )
    options = ServerOptions(place, access_log=access_log, access=access)
    if member is not None:
        options = replace(options, grpc=parse_place(grpc_at) if grpc_at else None)
        from mlops_box_services.workers.membership import Membership
        from mlops_box_services.workers.worker import serve_as_worker

        serve_as_worker(options, Membership.parse(member))
        return
    bounds = WorkerBounds.parse(workers)
    listener = _listen(host, port)
    _refuse_second(place)
    address = ServerAddress(reached_at(host), listener.getsockname()[1], os.getpid())
    reserved = reserve(listener, grpc_port) if grpc else None
    if reserved is not None:
        place_of_grpc = reserved.getsockname()[:2]
        address = replace(address, grpc_port=place_of_grpc[1])
        options = replace(options, grpc=place_of_grpc)
        arguments = [*arguments, "--grpc-at", place_text(place_of_grpc)]
    with _tokens_asked_for(options):
        if bounds.is_one:
            _serve_alone(options, address, listener)
        else:
            from mlops_box_services.workers.doorkeeper import keep_door

            keep_door(place, address, listener, bounds, arguments=arguments, calm_s=calm_s)


def _listen(host: str, port: int) -> socket.socket:
    """Take the port at once: a port that is taken is said before anything is loaded."""
    try:
        family, _, _, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise UsageError(f"{host} is no address of this machine: {error.strerror or error}") from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(place)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise BusyError(
            f"port {port} on {host} cannot be used: {error.strerror or error}",
            hint="stop what uses it, or choose another --port (0 takes a free one)",
        ) from error
    return listener


@contextlib.contextmanager
def _tokens_asked_for(options: ServerOptions) -> Iterator[None]:
    """Where tokens are asked for: see that there are some, and make the one of this machine's own processes."""
    if not options.access.needs_token:
        yield
        return
    with Box.open(options.home, actor="server") as box:
        check_tokens(options.access, box.tokens, past_ones=True)
    make_local_token(options.home.run)
    try:
        yield
    finally:
        remove_local_token(options.home.run)


def _refuse_second(home: Home) -> None:
    address = ServerAddress.read(home.run)
    if address is not None and address.pid != os.getpid() and ServerClient(address).is_alive():
        raise BusyError(
            f"this box is served already at {address.url} (process {address.pid})", hint="mlops-box down"
        )


def _serve_alone(options: ServerOptions, address: ServerAddress, listener: socket.socket) -> None:
    from mlops_box_services.server import serve_alone

    def publish() -> None:
        address.write(options.home.run)
        log.info("serving at %s", address.url)

    serve_alone(options, listener, on_started=publish, on_stopping=lambda: address.remove(options.home.run))


def main(arguments: list[str] | None = None) -> None:
    """Entry point; errors come as the one JSON shape on standard error, with their exit code."""
    try:
        given = sys.argv[1:] if arguments is None else arguments
        command.main(args=given, prog_name="python -m mlops_box_services", standalone_mode=False, obj=given)
    except BoxError as error:
        sys.stderr.write(json.dumps(error.to_dict(), default=str) + "\n")
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(ExitCode.INTERRUPTED)


if __name__ == "__main__":
    main()
