"""An app that is made at its first request: once, with its lifespan, and with its mistakes told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from mlops_box_services.late import LateApp

Events = list[str]


def app_that_notes(events: Events, *, fails: bool = False) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            if fails:
                raise OSError("no pages today")
            events.append("startup")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            events.append("shutdown")
            await send({"type": "lifespan.shutdown.complete"})
        else:
            events.append(scope["path"])

    return app


async def live(late: LateApp) -> tuple[asyncio.Task[None], asyncio.Queue[Any], asyncio.Queue[Any]]:
    told: asyncio.Queue[Any] = asyncio.Queue()
    said: asyncio.Queue[Any] = asyncio.Queue()
    task = asyncio.create_task(late({"type": "lifespan"}, told.get, said.put))
    await told.put({"type": "lifespan.startup"})
    assert (await said.get())["type"] == "lifespan.startup.complete"
    return task, told, said


async def ask(late: LateApp, path: str) -> None:
    async def nothing(*_: Any) -> Any:
        return {}

    await late({"type": "http", "path": path}, nothing, nothing)


async def test_nothing_is_made_until_it_is_asked_for() -> None:
    made: Events = []
    late = LateApp(lambda: made.append("made"))  # type: ignore[arg-type,return-value]
    task, told, said = await live(late)
    await told.put({"type": "lifespan.shutdown"})
    assert (await said.get())["type"] == "lifespan.shutdown.complete"
    await task
    assert made == []


async def test_requests_that_come_together_make_one_app_and_it_is_started_and_stopped() -> None:
    events: Events = []

    def make() -> Any:
        events.append("made")
        return app_that_notes(events)

    late = LateApp(make)
    task, told, said = await live(late)
    await asyncio.gather(*(ask(late, "/") for _ in range(5)))
    await told.put({"type": "lifespan.shutdown"})
    assert (await said.get())["type"] == "lifespan.shutdown.complete"
    await task
    assert events == ["made", "startup", "/", "/", "/", "/", "/", "shutdown"]


async def test_an_app_that_does_not_start_fails_its_request_and_is_tried_again() -> None:
    events: Events = []
    apps = iter([app_that_notes(events, fails=True), app_that_notes(events)])
    late = LateApp(lambda: next(apps))
    with pytest.raises(RuntimeError, match="ended at its startup"):
        await ask(late, "/")
    await ask(late, "/")
    assert events == ["startup", "/"]
