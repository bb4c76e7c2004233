"""``mlops-box tui --web``: the screen in a browser, by the protocol that the page speaks."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import itertools
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from mlops_box_tui.web.server import MAX_SESSIONS, listen

from mlops_box.box import Box
from mlops_box.errors import ExitCode, UsageError

WITHIN_S = 60.0


class Web:
    """A server that runs, and what it said of itself."""

    def __init__(self, home: Path, *options: str):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlops_box", "tui", "--web", "--port", "0", "--json", "--home", str(home), *options],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        told = json.loads(self.process.stdout.readline())
        self.url, self.read_only = told["url"], told["read_only"]
        self.root = self.url.partition("/?")[0]

    def screens(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WITHIN_S)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with Box.open(tmp_path / "box"):
        return tmp_path / "box"


@pytest.fixture
def web(home: Path) -> Iterator[Web]:
    server = Web(home)
    yield server
    server.process.kill()
    server.process.wait()


class Session:
    """A browser's side of one session: what came, and what is typed."""

    def __init__(self, page: aiohttp.ClientWebSocketResponse):
        self._socket = page
        self._came = b""

    async def type(self, keys: str) -> None:
        self._came = b""
        await self._socket.send_json(["stdin", keys])

    async def shows(self, text: str) -> None:
        """Wait until the text has come, whatever its colours."""
        deadline = time.monotonic() + WITHIN_S
        while text not in (
            seen := re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", self._came).decode(errors="replace")
        ):
            message = await asyncio.wait_for(self._socket.receive(), deadline - time.monotonic())
            assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), (
                f"closed; saw {seen[-2000:]}"
            )
            if message.type == aiohttp.WSMsgType.BINARY:
                self._came += message.data

    async def ended(self) -> None:
        """Wait until the server has closed it."""
        while (await asyncio.wait_for(self._socket.receive(), WITHIN_S)).type != aiohttp.WSMsgType.CLOSE:
            pass


@asynccontextmanager
async def browser(web: Web) -> AsyncIterator[aiohttp.ClientSession]:
    """Has opened the address that was printed."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
        async with client.get(web.url) as page:
            assert page.status == 200
            assert "key" not in page.url.query
        yield client


@asynccontextmanager
async def session(web: Web, client: aiohttp.ClientSession) -> AsyncIterator[Session]:
    headers = {"Origin": web.root}
    async with client.ws_connect(
        f"{web.root}/ws?width=120&height=36", headers=headers, max_msg_size=0
    ) as page:
        yield Session(page)


async def test_the_screen_comes_to_the_browser_and_follows_its_keys(web: Web, home: Path) -> None:
    before = hashlib.sha256((home / "box.db").read_bytes()).hexdigest()
    async with browser(web) as client, session(web, client) as screen:
        await screen.shows("This box is empty.")
        await screen.type("3")
        await screen.shows("mlops-box train")
        await screen.type("4")
        await screen.shows("The inference server is down")
        await screen.type("U")
        await screen.shows("opened with --readonly: nothing acts here")
    assert web.read_only
    assert hashlib.sha256((home / "box.db").read_bytes()).hexdigest() == before


async def test_with_act_the_keys_ask_before_they_act(home: Path) -> None:
    web = Web(home, "--act")
    try:
        assert not web.read_only
        async with browser(web) as client, session(web, client) as screen:
            await screen.shows("This box is empty.")
            await screen.type("4")
            await screen.shows("The inference server is down")
            await screen.type("U")
            await screen.shows("$ mlops-box up")
    finally:
        assert web.stop() == ExitCode.OK


async def test_the_page_asks_no_other_machine_for_anything(web: Web) -> None:
    async with browser(web) as client:
        async with client.get(f"{web.root}/") as page:
            text = await page.text()
            policy = page.headers["Content-Security-Policy"]
        linked = re.findall(r"(?:src|href)=\"([^\"]+)\"", text) + re.findall(r"url\(\"([^\"]+)\"\)", text)
        assert len(linked) >= 4
        for address in linked:
            assert re.match(r"/(?!/)|data:", address), address
            if address.startswith(("/static/", "/page/")):
                async with client.get(web.root + address) as part:
                    assert part.status == 200
                    if address.endswith((".js", ".css")):
                        assert not re.search(
                            r"(url\(|import |fetch\(|src=)[\"']?https?://", await part.text()
                        )
        assert "default-src 'none'" in policy
        assert "https:" not in policy


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 401),
        ("/?key=wrong", {}, 401),
        ("/ws", {}, 401),
        ("/static/js/textual.js", {}, 401),
        ("KEY", {"Host": "evil.example"}, 421),
        ("KEY", {"Origin": "http://evil.example"}, 403),
        ("KEY", {"Origin": "http://localhost:3000"}, 403),
        ("KEY", {"Origin": "null"}, 403),
    ],
)
async def test_whoever_does_not_come_by_the_printed_address_is_refused(
    web: Web, path: str, headers: dict[str, str], status: int
) -> None:
    address = web.url if path == "KEY" else web.root + path
    async with aiohttp.ClientSession() as client, client.get(address, headers=headers) as answer:
        assert answer.status == status
        assert web.url.rpartition("=")[2] not in await answer.text()
    assert web.screens() == []


async def test_a_page_of_another_site_opens_no_session_with_the_users_cookie(web: Web) -> None:
    async with browser(web) as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect(f"{web.root}/ws", headers={"Origin": "http://evil.example"})
    assert refused.value.status == 403
    assert web.screens() == []


async def test_through_a_tunnel_the_page_speaks_to_where_it_came_from(web: Web) -> None:
    async with browser(web) as client, client.get(f"{web.root}/", headers={"Host": "localhost:9000"}) as page:
        assert "ws://localhost:9000/ws" in await page.text()


async def test_odd_messages_end_their_own_session_only(web: Web) -> None:
    async with browser(web) as client, session(web, client) as screen:
        for odd in ("[", "{}", "[]", '["resize", {}]', '["stdin", 7]', "null"):
            async with client.ws_connect(f"{web.root}/ws") as page:
                await page.send_str(odd)
                while not page.closed:
                    await asyncio.wait_for(page.receive(), WITHIN_S)
        await screen.shows("This box is empty.")


async def test_a_closed_page_and_a_stopped_server_leave_no_process(web: Web) -> None:
    async with browser(web) as client:
        async with session(web, client) as screen:
            await screen.shows("This box is empty.")
            closed = web.screens()
        async with session(web, client) as screen:
            await screen.shows("This box is empty.")
            stopped = web.screens()
            assert closed
            assert stopped
            assert await asyncio.to_thread(web.stop) == ExitCode.OK
            await screen.ended()
    assert psutil.wait_procs([*closed, *stopped], WITHIN_S)[1] == []


async def test_a_page_that_stops_reading_and_vanishes_leaves_no_process(web: Web) -> None:
    async with browser(web) as client:
        cookies = "; ".join(f"{cookie.key}={cookie.value}" for cookie in client.cookie_jar)
    page = socket.socket()
    # The screen soon waits to be read, and cannot hear that it shall end.
    page.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    port = int(web.root.rpartition(":")[2])
    page.connect(("127.0.0.1", port))
    page.sendall(
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nCookie: {cookies}\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    deadline = time.monotonic() + WITHIN_S
    while not (screens := web.screens()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    widths, unmoved = itertools.cycle((400, 399)), 0
    while unmoved < 10:
        assert time.monotonic() < deadline
        spent = screens[0].cpu_times()
        page.sendall(masked(["resize", {"width": next(widths), "height": 150}]))
        await asyncio.sleep(0.2)
        unmoved = unmoved + 1 if screens[0].cpu_times() == spent else 0
    page.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    page.close()
    gone = await asyncio.to_thread(psutil.wait_procs, screens, WITHIN_S)
    assert gone[1] == []


def masked(message: Any) -> bytes:
    """A short text message as a page sends it, its mask all zeros."""
    data = json.dumps(message).encode()
    assert len(data) < 126
    return b"\x81" + bytes([0x80 | len(data)]) + bytes(4) + data


async def test_a_session_too_many_is_told_so_and_starts_nothing(web: Web) -> None:
    async with browser(web) as client, AsyncExitStack() as open_pages:
        for _ in range(MAX_SESSIONS):
            await open_pages.enter_async_context(client.ws_connect(f"{web.root}/ws", max_msg_size=0))
        async with client.ws_connect(f"{web.root}/ws") as page:
            said = await page.receive_bytes()
            assert f"{MAX_SESSIONS} sessions are open already".encode() in said
            assert (await page.receive()).type == aiohttp.WSMsgType.CLOSE
        assert len(web.screens()) <= MAX_SESSIONS


async def test_a_killed_server_takes_its_screens_along(web: Web) -> None:
    async with browser(web) as client, session(web, client) as screen:
        await screen.shows("This box is empty.")
        screens = web.screens()
        assert screens
        web.process.kill()
        gone = await asyncio.to_thread(psutil.wait_procs, screens, WITHIN_S)
        assert gone[1] == []


def run(home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "mlops_box", "tui", "--home", str(home), *options]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=WITHIN_S, check=False)


def test_a_port_in_use_is_said_with_what_to_do(web: Web, home: Path) -> None:
    done = run(home, "--web", "--port", web.root.rpartition(":")[2])
    assert done.returncode == ExitCode.BUSY
    assert "is in use" in done.stderr
    assert "--port 0" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_not_for_this_user_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forbidden(socket.socket):
        def bind(self, address: Any) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "socket", Forbidden)
    with pytest.raises(UsageError, match="port 80 cannot be listened on: Permission denied"):
        listen(80)


@pytest.mark.parametrize(
    "options", [("--act",), ("--web", "--act", "--readonly"), ("--web", "--screenshot", "x.svg")]
)
def test_options_that_contradict_each_other_are_refused(home: Path, options: tuple[Any, ...]) -> None:
    done = run(home, *options)
    assert done.returncode == ExitCode.USAGE
    assert "Traceback" not in done.stderr
