"""One view as an SVG picture, without a terminal: ``mlops-box tui --screenshot FILE``."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence

from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from mlops_box_tui.app import BoxApp

# Rich's template names a web font; the picture shall ask no other machine for anything.
_FONT_FACES = re.compile(r"\s*@font-face\s*\{[^}]*\}", re.DOTALL)


def take_screenshot(app: BoxApp, *, size: tuple[int, int], press: Sequence[str] = ()) -> str:
    """Run the app headless, press keys, return what it shows.

    Args:
        size: Columns and rows.
        press: Keys in Textual's names (``enter``, ``j``, ``right_square_bracket``).
    """
    return asyncio.run(_take(app, size, press))


async def _take(app: BoxApp, size: tuple[int, int], press: Sequence[str]) -> str:
    app.animation_level = "none"
    async with app.run_test(size=size) as pilot:
        await settle(app, pilot)
        for key in press:
            await pilot.press(key)
            await settle(app, pilot)
        svg = app.export_screenshot(title="mlops-box tui")
    return _FONT_FACES.sub("", svg)


async def settle(app: BoxApp, pilot: Pilot[None]) -> None:
    """Wait until all reading is done and drawn."""
    for _ in range(3):
        # Zero: until every widget has handled its messages; the default would wait for an idle processor.
        await pilot.pause(0)
        reading = [worker for worker in app.workers if worker.group.startswith(("poll", "go", "draw", "act"))]
        # A newer poll may have taken an older one's place.
        with contextlib.suppress(WorkerCancelled):
            await app.workers.wait_for_complete(reading)
    # The line of keys is drawn anew after the next refresh, and what that makes after another.
    for _ in range(3):
        await pilot.pause()
