"""Hands and eyes of a test: keys are pressed, all is read and drawn, what stands on the screen is text."""

from __future__ import annotations

from typing import Any

from mlops_box_tui.app import BoxApp
from mlops_box_tui.screenshot import settle
from textual.events import Key
from textual.pilot import Pilot


def said(driver: Driver) -> str:
    """What the screen has told of acts, in the corner."""
    return "\n".join(note.message for note in driver.app._notifications)


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
