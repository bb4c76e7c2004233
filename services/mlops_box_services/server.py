"""The HTTP server of one process: uvicorn around the service, with our way to start and to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Protocol

import uvicorn
import uvloop

from mlops_box.home import Home
from mlops_box_services.bounded_http import ConnectionBounds, connections_possible, sweep
from mlops_box_services.eager_http import EagerHttpProtocol
from mlops_box_services.exchange import App
from mlops_box_services.front import Front
from mlops_box_services.late import LateApp
from mlops_box_services.options import ServerOptions
from mlops_box_services.runtime import Runtime

GRACE_S = 15
KEEP_ALIVE_S = 75


class Beside(Protocol):
    """Another server in the same event loop, that comes and goes with HTTP."""

    async def start(self) -> None:
        """Begin to answer."""

    async def stop(self) -> None:
        """Finish what is under way; idempotent."""


class HttpServer(uvicorn.Server):
    """Says when it answers and when it stops; leaves with status 0 when it was asked to stop."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT),
        on_started: Callable[[], None] = lambda: None,
        on_stopping: Callable[[], None] = lambda: None,
        beside: Beside | None = None,
    ):
        super().__init__(config)
        self._signals = signals
        self._on_started = on_started
        self._on_stopping = on_stopping
        self._beside = beside

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            if self._beside is not None:
                # Who waits for `started` waits for both.
                self.started = False
                await self._beside.start()
                self.started = True
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stopping()
        if self._beside is not None:
            await self._beside.stop()
        await super().shutdown(sockets=sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in self._signals:
            signal.signal(number, self.handle_exit)
        yield

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # about once a second
            sweep(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True


def serve_alone(
    options: ServerOptions,
    listener: socket.socket,
    *,
    on_started: Callable[[], None],
    on_stopping: Callable[[], None],
) -> None:
    """Serve in this process alone until SIGTERM."""
    with bentoml_in(options.home), contextlib.closing(listener), opened(options) as runtime:
        server = HttpServer(
            config_for(runtime),
            on_started=on_started,
            on_stopping=on_stopping,
            beside=beside(options, runtime),
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.serve(sockets=[listener]))


@contextlib.contextmanager
def opened(options: ServerOptions, *, follow: bool = True) -> Iterator[Runtime]:
    """What serves, for the block; inside :func:`bentoml_in`.

    Args:
        follow: Watch box.db for promotions; otherwise somebody else says what to serve.
    """
    runtime = Runtime(options.home, access_log=options.access_log, follow=follow, access=options.access)
    try:
        yield runtime
    finally:
        runtime.close()


def beside(options: ServerOptions, runtime: Runtime) -> Beside | None:
    """The gRPC server, where it is wanted."""
    if options.grpc is None:
        return None
    from mlops_box_services.grpc_front import GrpcFront

    return GrpcFront(runtime, options.grpc)


def config_for(runtime: Runtime, *, grace_s: int = GRACE_S) -> uvicorn.Config:
    """uvicorn's settings for the service around ``runtime``; call it inside :func:`bentoml_in`."""

    class HttpProtocol(EagerHttpProtocol):
        bounds = ConnectionBounds(connections=connections_possible(runtime.access.connections))

    def pages() -> App:
        from mlops_box_services.service import service

        service.runtime = runtime
        return service.pages()

    return uvicorn.Config(
        Front(LateApp(pages), lambda: runtime, access=runtime.access), http=HttpProtocol, proxy_headers=False, lifespan="on", access_log=False,
        server_header=False, log_level="warning", log_config=None, timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=grace_s, ws="none",
    )  # fmt: skip


@contextlib.contextmanager
def bentoml_in(home: Home) -> Iterator[None]:
    """BentoML reads these when it is imported. Telemetry goes off only by the literal ``true``."""
    folder = metrics_folder(home, os.getpid())
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["BENTOML_DO_NOT_TRACK"] = "true"
    os.environ["BENTOML_HOME"] = str(home.bentoml)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def metrics_folder(home: Home, pid: int) -> Path:
    """Where BentoML keeps the metrics of one process."""
    return home.run / f"prometheus-{pid}"
