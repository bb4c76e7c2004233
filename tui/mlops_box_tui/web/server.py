"""``mlops-box tui --web``: serves the page, and runs a screen for each session as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp_jinja2
import jinja2
from aiohttp import WSCloseCode, web
from textual_serve.app_service import AppService
from textual_serve.server import Server

from mlops_box.errors import BusyError, UsageError
from mlops_box.operations.prefect_env import LOOPBACK
from mlops_box_tui.web.door import Door

# Each is a process of about 60 MB: enough for a person and colleagues, and a bound for a page that reloads itself.
MAX_SESSIONS = 8
# An app that has not ended by then, after being asked to, is killed.
END_WITHIN_S = 5.0


class WebServer(Server):
    """textual-serve's server, with our page, our door, a bound on sessions, and an end that leaves nothing behind.

    Args:
        arguments: Of ``python -m mlops_box_tui``, for each session.
        listening: A bound socket on loopback; closed at the end.
        read_only: What is told of it.
        as_json: Tell the address as JSON.
    """

    def __init__(self, arguments: Sequence[str], listening: socket.socket, *, read_only: bool, as_json: bool):
        port = listening.getsockname()[1]
        # The shell, which textual-serve starts it by, hands its own process over: signals and ends are the screen's.
        command = "exec " + shlex.join([sys.executable, "-m", "mlops_box_tui", *arguments])
        super().__init__(
            command, host=LOOPBACK, port=port, title="mlops-box",
            templates_path=Path(__file__).parent / "templates",
        )  # fmt: skip
        self._listening = listening
        self._read_only = read_only
        self._as_json = as_json
        self._door = Door(secrets.token_urlsafe(24), f"mlops-box-{port}")
        self._sessions: set[web.WebSocketResponse] = set()

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM, and end every session."""
        logging.getLogger("textual-serve").setLevel(logging.ERROR)
        asyncio.run(self._run())

    async def _run(self) -> None:
        runner = web.AppRunner(await self._make_app(), access_log=None, handle_signals=False)
        await runner.setup()
        try:
            await web.SockSite(runner, self._listening).start()
            ended = asyncio.Event()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, ended.set)
            self._tell()
            # What a screen says when it breaks is no answer to anybody who reads the address.
            with contextlib.redirect_stdout(sys.stderr):
                await ended.wait()
        finally:
            await runner.cleanup()

    async def _make_app(self) -> web.Application:
        app = web.Application(middlewares=[self._door.middleware()])
        aiohttp_jinja2.setup(app, loader=jinja2.FileSystemLoader(self.templates_path))
        app.router.add_get("/", self.handle_index)
        app.router.add_get("/ws", self.handle_websocket)
        app.router.add_static("/static", self.statics_path)
        app.router.add_static("/page", Path(__file__).parent / "page")
        app.on_shutdown.append(self.on_shutdown)
        return app

    def _tell(self) -> None:
        """Say where, in a form for whoever asked."""
        url = f"http://{LOOPBACK}:{self.port}/?key={self._door.key}"
        if self._as_json:
            line = json.dumps({"url": url, "port": self.port, "read_only": self._read_only})
        else:
            may = "read-only: --act lets its keys act" if self._read_only else "its keys act"
            line = (
                f"{url}\n{may}; one process a session, at most {MAX_SESSIONS}; Ctrl+C ends them all\n"
                f"from another machine: ssh -L {self.port}:{LOOPBACK}:{self.port} THIS-MACHINE, then open the same address there"
            )
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    async def handle_index(self, request: web.Request) -> web.Response:
        # By whatever name and port the browser came here: behind ssh -L it is another one than ours.
        context = {
            "font_size": 16,
            "app_websocket_url": f"ws://{request.host}/ws",
            "config": {"static": {"url": "/static/"}},
            "application": {"name": self.title},
        }
        return aiohttp_jinja2.render_template("app_index.html", request, context)

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(heartbeat=15)
        await websocket.prepare(request)
        if len(self._sessions) >= MAX_SESSIONS:
            said = f"{MAX_SESSIONS} sessions are open already: close one first"
            await websocket.send_bytes(said.encode())
            await websocket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=said.encode())
            return websocket
        self._sessions.add(websocket)

        async def close() -> None:
            await websocket.close()

        async def draw(drawn: bytes) -> None:
            # Taken from the screen also when nobody looks any more: it could not end while it waits to be read.
            with contextlib.suppress(ConnectionError):
                await websocket.send_bytes(drawn)

        session = AppService(
            self.command, write_bytes=draw, write_str=websocket.send_str, close=close,
            download_manager=self.download_manager,
        )  # fmt: skip
        try:
            await session.start(_cells(request, "width", 80), _cells(request, "height", 24))
            # A message that is none ends its session and no other.
            with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError, AssertionError):
                await self._process_messages(websocket, session)
        finally:
            self._sessions.discard(websocket)
            await _end(session)
            await websocket.close()
        return websocket

    async def on_shutdown(self, app: web.Application) -> None:
        await asyncio.gather(
            *(websocket.close(code=WSCloseCode.GOING_AWAY) for websocket in list(self._sessions))
        )


async def _end(session: AppService) -> None:
    """Ask the screen to end; a screen that has not by then is killed."""
    process: Any = session._process
    if process is None:
        return
    try:
        async with asyncio.timeout(END_WITHIN_S):
            with contextlib.suppress(ConnectionError):
                await session.stop()
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _cells(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return min(max(int(text), 10), 500) if text.isascii() and text.isdigit() and len(text) < 6 else default


def listen(port: int) -> socket.socket:
    """A socket on loopback.

    Args:
        port: 0 for a free one.

    Raises:
        BusyError: Somebody else has the port.
        UsageError: It is not for this user.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
    except OSError as error:
        listening.close()
        hint = "mlops-box tui --web --port 0 takes a free one"
        if error.errno == errno.EADDRINUSE:
            raise BusyError(f"port {port} is in use", hint=hint) from error
        raise UsageError(f"port {port} cannot be listened on: {error.strerror}", hint=hint) from error
    return listening
