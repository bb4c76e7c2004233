"""Worker processes are started, started again, given up and ended; the processes here are real, and do nothing."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from mlops_box_services.workers import staff as module
from mlops_box_services.workers.messages import Leaving
from mlops_box_services.workers.staff import Staff

from mlops_box.home import Home


class Case:
    """A staff whose workers are a shell script."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, script: str):
        program = folder / "worker"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(program))
        home = Home(folder / "home")
        home.create()
        self.ended: list[tuple[int, bool]] = []
        self.hopeless: list[int] = []
        self.staff = Staff(
            home, ("--home", "x"),
            on_started=lambda worker: None,
            on_ask=lambda worker, ask: None,
            on_end=lambda worker, last, died: self.ended.append((worker.number, died)),
            on_rescued=lambda connections: None,
            on_hopeless=self.hopeless.append,
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def tended(self) -> AsyncIterator[Staff]:
        async def tend() -> None:
            while True:
                await self.staff.tend(asyncio.get_running_loop().time())
                await asyncio.sleep(0.02)

        tending = asyncio.create_task(tend())
        try:
            async with asyncio.timeout(40):
                yield self.staff
        finally:
            tending.cancel()
            await asyncio.gather(tending, return_exceptions=True)
            await self.staff.stop(grace_s=0.2)
        assert self.staff.all == []


async def until(condition: object) -> None:
    while not condition():  # type: ignore[operator]
        await asyncio.sleep(0.02)


def test_a_start_that_cannot_succeed_is_given_up_at_once_with_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(tmp_path, monkeypatch, "exit 8")

    async def story() -> None:
        async with case.tended() as staff:
            staff.wanted = 1
            await until(lambda: case.hopeless)

    asyncio.run(story())
    assert case.hopeless == [8]
    assert case.ended == [(1, True)]


def test_a_start_that_fails_otherwise_is_tried_three_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(tmp_path, monkeypatch, "exit 1")

    async def story() -> None:
        async with case.tended() as staff:
            staff.wanted = 1
            await until(lambda: case.hopeless)

    asyncio.run(story())
    assert case.hopeless == [1]
    assert len(case.ended) == 3


def test_who_dies_is_replaced_who_leaves_is_not_blamed_and_all_end_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(tmp_path, monkeypatch, "exec sleep 60")
    pids: list[int] = []

    async def story() -> None:
        async with case.tended() as staff:
            staff.wanted = 2
            await until(lambda: len(staff.all) == 2)
            first, second = staff.all
            first.state = second.state = "warm"
            await asyncio.sleep(0.1)
            first.life.process.kill()
            await until(lambda: [w.number for w in staff.all if w is not first] == [2, 1])
            staff._hear(second, Leaving())
            second.life.process.kill()
            await until(lambda: len({w.pid for w in staff.all} - {first.pid, second.pid}) == 2)
            pids.extend(worker.pid for worker in staff.all)

    asyncio.run(story())
    assert case.ended[:2] == [(1, True), (2, False)]
    assert case.hopeless == []
    assert not any(map(psutil.pid_exists, pids))


def test_who_does_not_become_warm_or_says_nothing_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "START_LIMIT_S", 0.2)
    monkeypatch.setattr(module, "SILENT_LIMIT_S", 0.2)
    case = Case(tmp_path, monkeypatch, "exec sleep 60")

    async def story() -> None:
        async with case.tended() as staff:
            staff.wanted = 2
            await until(lambda: len(staff.all) == 2)
            staff.all[1].state = "warm"
            await until(lambda: len(case.ended) >= 2)

    asyncio.run(story())
    assert {number for number, died in case.ended if died} >= {1, 2}
