"""Connections that are handed over are served, counted, and end politely: told so with an answer, never cut."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvicorn
from mlops_box_services.server import HttpServer
from mlops_box_services.workers.connections import Connections

REQUEST = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"


class Case:
    """A server that answers a path with itself, once it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked = 0
        self.ended = 0
        config = uvicorn.Config(
            self._app, http="httptools", lifespan="off", ws="none", log_config=None, interface="asgi3"
        )
        self.server = HttpServer(config, signals=())
        self.connections = Connections(self.server, config, on_lost=self._count)

    def _count(self) -> None:
        self.ended += 1

    async def _app(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        self.asked += 1
        await self.may_answer.wait()
        body = scope["path"].encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        await self.connections.accept(theirs)
        return await asyncio.open_unix_connection(sock=ours)


async def answer(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """(body, whether it says that it was the last one)."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
    return await reader.readexactly(length), b"connection: close" in head


def run(story: Callable[[Case], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        case = Case()
        serving = asyncio.create_task(case.server.serve(sockets=[]))
        async with asyncio.timeout(30):
            while not case.server.started:
                await asyncio.sleep(0.01)
            await story(case)
            case.server.should_exit = True
            await serving

    asyncio.run(whole())


def test_an_idle_connection_is_told_with_its_next_answer() -> None:
    async def story(case: Case) -> None:
        reader, writer = await case.connect()
        for number in (1, 2):
            writer.write(REQUEST % number)
            assert await answer(reader) == (b"/%d" % number, False)
        case.connections.let_go(1)
        await asyncio.sleep(0.05)
        assert not reader.at_eof()
        writer.write(REQUEST % 3)
        assert await answer(reader) == (b"/3", True)
        assert await reader.read() == b""
        writer.close()
        assert case.connections.lost == case.ended == 1

    run(story)


@pytest.mark.parametrize("pipelined", [1, 3])
def test_requests_under_way_are_answered_and_the_last_answer_tells(pipelined: int) -> None:
    async def story(case: Case) -> None:
        case.may_answer.clear()
        reader, writer = await case.connect()
        writer.write(b"".join(REQUEST % number for number in range(pipelined)))
        while not case.asked:
            await asyncio.sleep(0.01)
        case.connections.let_go(1)
        case.may_answer.set()
        for number in range(pipelined):
            assert await answer(reader) == (b"/%d" % number, number == pipelined - 1)
        assert await reader.read() == b""
        writer.close()

    run(story)


def test_so_many_go_in_all_however_often_it_is_said_and_busy_ones_first() -> None:
    async def story(case: Case) -> None:
        ends = [await case.connect() for _ in range(4)]
        case.may_answer.clear()
        ends[2][1].write(REQUEST % 2)
        while not case.asked:
            await asyncio.sleep(0.01)
        case.connections.let_go(1)
        case.connections.let_go(1)
        case.may_answer.set()
        assert await answer(ends[2][0]) == (b"/2", True)
        last = []
        for number in (0, 1, 3):
            ends[number][1].write(REQUEST % number)
            last.append((await answer(ends[number][0]))[1])
        assert last == [False, False, False]
        for _, writer in ends:
            writer.close()

    run(story)


def test_all_go_and_so_does_one_that_comes_late() -> None:
    async def story(case: Case) -> None:
        reader, writer = await case.connect()
        going = asyncio.create_task(case.connections.let_all_go(limit_s=20))
        await asyncio.sleep(0.05)
        late_reader, late_writer = await case.connect()
        for source, target in ((reader, writer), (late_reader, late_writer)):
            assert not going.done()
            target.write(REQUEST % 1)
            assert await answer(source) == (b"/1", True)
            target.close()
        await going

    run(story)
