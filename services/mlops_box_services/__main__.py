"""``python -m mlops_box_services --home DIR --port N``: one inference server, without BentoML's supervisor.

That supervisor opens a local control port that runs commands without asking who calls, and takes up to ten seconds to
notice a dead worker.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click

from mlops_box.errors import BoxError, BusyError, ExitCode, UsageError
from mlops_box.home import Home, home_from
from mlops_box.serving.address import ServerAddress
from mlops_box.serving.client import ServerClient

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
GRACE_S = 15
KEEP_ALIVE_S = 75

log = logging.getLogger("mlops_box_services")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), help="The box's home.")
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@click.option(
    "--port", default=0, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free port."
)
@click.option(
    "--access-log/--no-access-log", default=False, help="A JSON line a request, in logs/access.log."
)
def command(home: Path | None, host: str, port: int, access_log: bool) -> None:
    """Serve the champions of a box over HTTP."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    os.umask(0o077)
    place = home_from(os.environ, given=home)
    place.create()
    listener = _listen(host, port)
    _refuse_second(place)
    _prepare_bentoml(place)
    try:
        _serve(place, host, listener, access_log=access_log)
    finally:
        shutil.rmtree(_metrics_folder(place), ignore_errors=True)


def _listen(host: str, port: int) -> socket.socket:
    """Take the port at once: a port that is taken is said before anything is loaded."""
    if host not in LOOPBACK_HOSTS:
        raise UsageError(
            f"{host} is no loopback address", hint="the server has no authentication yet; bind 127.0.0.1"
        )
    family = socket.AF_INET6 if host == "::1" else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise BusyError(
            f"port {port} on {host} cannot be used: {error.strerror or error}",
            hint="stop what uses it, or choose another --port (0 takes a free one)",
        ) from error
    return listener


def _refuse_second(home: Home) -> None:
    address = ServerAddress.read(home.run)
    if address is not None and address.pid != os.getpid() and ServerClient(address).is_alive():
        raise BusyError(
            f"this box is served already at {address.url} (process {address.pid})", hint="mlops-box down"
        )


def _metrics_folder(home: Home) -> Path:
    return home.run / f"prometheus-{os.getpid()}"


def _prepare_bentoml(home: Home) -> None:
    """BentoML reads these when it is imported. Telemetry goes off only by the literal ``true``."""
    folder = _metrics_folder(home)
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["BENTOML_DO_NOT_TRACK"] = "true"
    os.environ["BENTOML_HOME"] = str(home.bentoml)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def _serve(home: Home, host: str, listener: socket.socket, *, access_log: bool) -> None:
    import asyncio

    import uvicorn
    import uvloop

    from mlops_box_services.eager_http import EagerHttpProtocol
    from mlops_box_services.runtime import Runtime
    from mlops_box_services.service import service

    class Server(uvicorn.Server):
        """Publishes its address when it answers; leaves with status 0 when it was asked to stop."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                address.write(home.run)
                log.info("serving at %s", address.url)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            address.remove(home.run)
            await super().shutdown(sockets=sockets)

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self.handle_exit)
            yield

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            self.should_exit = True

    address = ServerAddress(host, listener.getsockname()[1], os.getpid())
    runtime = Runtime(home, access_log=access_log)
    try:
        service.open_runtime = lambda: runtime
        config = uvicorn.Config(
            service.to_asgi(), http=EagerHttpProtocol, proxy_headers=False, lifespan="on", access_log=False, server_header=False, log_level="warning",
            log_config=None, timeout_keep_alive=KEEP_ALIVE_S, timeout_graceful_shutdown=GRACE_S, ws="none",
        )  # fmt: skip
        server = Server(config)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.serve(sockets=[listener]))
    finally:
        runtime.close()
        listener.close()


def main(arguments: list[str] | None = None) -> None:
    """Entry point; errors come as the one JSON shape on standard error, with their exit code."""
    try:
        command.main(args=arguments, prog_name="python -m mlops_box_services", standalone_mode=False)
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
