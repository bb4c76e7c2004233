"""What hands may do to the terminal: every key that is known, letters, clicks, other sizes, odd lines behind ``:`` and ``/``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from mlops_box_tui import keys
from mlops_box_tui.app import BoxApp
from mlops_box_tui.screenshot import settle
from textual.events import Key
from textual.pilot import Pilot

SIZES = ((80, 24), (40, 10), (200, 60))
ODD = "éß漢字🐢\u202e\u200b'\"\\[]{}%@!~:/*\x7f"


@dataclass(frozen=True)
class Press:
    """One key by Textual's name; ``text`` is the character it makes."""

    key: str
    text: str | None = None


@dataclass(frozen=True)
class Click:
    """A click so far from the left and from the top, as a share of the screen."""

    x: float
    y: float


@dataclass(frozen=True)
class Resize:
    """The terminal becomes so large."""

    columns: int
    rows: int


@dataclass(frozen=True)
class Line:
    """A line behind ``colon`` or ``slash``, and Enter."""

    sign: str
    text: str


Step = Press | Click | Resize | Line


def known_keys() -> list[str]:
    """Every key that some place of the terminal binds, by its name."""
    found = {
        key
        for _, place in keys.PLACES
        for binding in keys.own_bindings(place)
        for key in binding.key.split(",")
    }
    return sorted(found)


def steps() -> st.SearchStrategy[Step | None]:
    """One thing that hands do; ``None`` is nothing, and what a failing example shrinks to."""
    bound = st.sampled_from(known_keys()).map(_press)
    letters = st.sampled_from("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789").map(_press)
    others = st.sampled_from(
        ["tab", "shift+tab", "backspace", "delete", "ctrl+c", "ctrl+a", "ctrl+w", "f5"]
    ).map(_press)
    text = st.text(st.sampled_from("abrsuns :=,*13" + ODD) | st.characters(codec="utf-8"), max_size=12)
    said = st.sampled_from(["runs failed", "model bike-rentals@3", "run 01", "alert 01alert", "sql", "host", "history",
                            "rollout digits", "theme ansi-dark", "theme light", "model no/such", "state:", "!~"])  # fmt: skip
    return st.one_of(
        st.none(), bound, bound, letters, others,
        st.builds(Click, st.floats(0, 0.999), st.floats(0, 0.999)),
        st.sampled_from(SIZES).map(lambda size: Resize(*size)),
        st.builds(Line, st.sampled_from(["colon", "slash"]), said | text),
    )  # fmt: skip


def _press(key: str) -> Press:
    return Press(key, key if len(key) == 1 else None)


async def take(app: BoxApp, pilot: Pilot[Any], step: Step) -> None:
    """Do one step, the way a terminal would: the app is told, and does with it what it can."""
    match step:
        case Press(key, text):
            _send(app, key, text)
        case Click(x, y):
            await pilot.click(offset=(int(x * app.size.width), int(y * app.size.height)))
        case Resize(columns, rows):
            await pilot.resize_terminal(columns, rows)
        case Line(sign, text):
            _send(app, sign, None)
            for letter in text:
                _send(app, letter, letter)
            _send(app, "enter", None)
    await pilot.pause(0)


def left(app: BoxApp) -> bool:
    """Whether somebody quit: a fair thing to do."""
    return app._exit or not app.is_running


async def follow(apps: Any, done: Sequence[Step], *, whole: bool) -> int:
    """Do all steps, in a new terminal after each quitting; every one ends alive. Returns how many steps were done.

    Args:
        apps: Opens an app: ``async with apps() as (app, pilot)``.
        done: The steps.
        whole: The box can be read: nothing may be in trouble.
    """
    place = 0
    while True:
        async with apps() as (app, pilot):
            while place < len(done) and not left(app):
                await take(app, pilot, done[place])
                place += 1
                if place % 8 == 0 and not left(app):
                    app._tick()
            if not left(app):
                await settle(app, pilot)
                assert app.screen.is_running
                assert not (whole and app.trouble), app.trouble
                assert "".join(strip.text for strip in app.screen._compositor.render_strips()).strip()
        if place == len(done):
            return place


def _send(app: BoxApp, key: str, text: str | None) -> None:
    event = Key(key, text)
    event.set_sender(app)
    app._driver.send_message(event)
