"""What is read slowly is shown all the same."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
import seeded_box
from mlops_box_tui.app import BoxApp
from mlops_box_tui.screenshot import settle
from mlops_box_tui.views import home as home_view

from mlops_box.box import Box
from mlops_box.operations.views import Pulse, read_pulse


async def test_what_takes_longer_to_read_than_a_tick_is_shown_once_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, may_answer, readings = threading.Event(), threading.Event(), []

    def slowly(box: Box) -> Pulse:
        readings.append(1)
        asked.set()
        assert may_answer.wait(120)
        return read_pulse(box)

    monkeypatch.setattr(home_view, "read_pulse", slowly)
    place = seeded_box.seed(tmp_path / "box")
    with Box.open(place, clock=seeded_box.fixed_clock(), read_only=True) as box:
        app = BoxApp(box)
        async with app.run_test(size=(120, 36)) as pilot:
            assert await asyncio.to_thread(asked.wait, 120)
            for _ in range(3):
                app._tick()
                await asyncio.sleep(0)
            may_answer.set()
            await settle(app, pilot)
            view = app.main.view
            assert isinstance(view, home_view.HomeView)
            assert view.pulse is not None
    assert len(readings) == 1
