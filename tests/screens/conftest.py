"""Apps over seeded boxes."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import seeded_box
from mlops_box_tui.app import BoxApp
from mlops_box_tui.screenshot import settle
from mlops_box_tui.settings import Settings
from textual.events import Key
from textual.pilot import Pilot

from mlops_box.box import Box

Open = Callable[..., AbstractAsyncContextManager[tuple[BoxApp, "Driver"]]]


class Driver:
    """Presses keys and waits until everything is read and drawn."""

    def __init__(self, app: BoxApp, pilot: Pilot[Any]):
        self.app = app
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
            await self.settle()

    def send(self, key: str) -> None:
        """One key, without waiting for what it does."""
        event = Key(key, key if len(key) == 1 else None)
        event.set_sender(self.app)
        self.app._driver.send_message(event)

    async def type(self, text: str) -> None:
        names = {
            " ": "space",
            ":": "colon",
            "!": "exclamation_mark",
            "~": "tilde",
            "/": "slash",
            "@": "at",
            "-": "minus",
            "[": "left_square_bracket",
            "]": "right_square_bracket",
        }
        await self.pilot.press(*(names.get(letter, letter) for letter in text))
        await self.settle()

    async def settle(self) -> None:
        await settle(self.app, self.pilot)

    async def tick(self) -> None:
        """What the clock does every second."""
        self.app._tick()
        await self.settle()

    def shown(self) -> str:
        """What stands on the screen, as lines of text."""
        width, height = self.app.size
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text[:width] for strip in strips[:height])


@pytest.fixture(scope="session")
def seeded_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeded once; tests that write take a copy (``home``)."""
    return seeded_box.seed(tmp_path_factory.mktemp("seeded") / "box")


@pytest.fixture
def home(seeded_home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(seeded_home, tmp_path / "box"))


@pytest.fixture
def empty_home(tmp_path: Path) -> Path:
    return seeded_box.empty(tmp_path / "empty" / "box")


@pytest.fixture
def make_app() -> Iterator[Callable[..., BoxApp]]:
    boxes: list[Box] = []

    def make(home: Path, *, start: str = "home", **settings: Any) -> BoxApp:
        box = Box.open(home, clock=seeded_box.fixed_clock(), read_only=True)
        boxes.append(box)
        app = BoxApp(box, settings=Settings(**settings), start=start)
        app.animation_level = "none"
        return app

    yield make
    for box in boxes:
        box.close()


@pytest.fixture
def open_app(make_app: Callable[..., BoxApp]) -> Open:
    """``async with open_app(home, start="runs") as (app, driver)``."""

    @asynccontextmanager
    async def opened(home: Path, *, size: tuple[int, int] = (120, 36), **options: Any) -> AsyncIterator[Any]:
        app = make_app(home, **options)
        async with app.run_test(size=size) as pilot:
            driver = Driver(app, pilot)
            await driver.settle()
            yield app, driver

    return opened
