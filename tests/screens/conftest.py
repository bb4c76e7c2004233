"""Apps over seeded boxes."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import acted_box
import pytest
import seeded_box
from driver import Driver
from mlops_box_tui.app import BoxApp
from mlops_box_tui.settings import Settings

from mlops_box.box import Box

Open = Callable[..., AbstractAsyncContextManager[tuple[BoxApp, Driver]]]


@pytest.fixture(scope="session")
def seeded_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeded once; tests that write take a copy (``home``)."""
    return seeded_box.seed(tmp_path_factory.mktemp("seeded") / "box")


@pytest.fixture(scope="session")
def acted_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A box with a real training, made once; tests take a copy."""
    return acted_box.seed(tmp_path_factory.mktemp("acted") / "box")


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
