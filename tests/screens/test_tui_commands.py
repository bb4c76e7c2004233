"""What is typed behind ``:``: every command of the table is understood, offered, listed by the help, and does something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mlops_box_tui.commands import WORDS, Word, command_help, completions, parse_command
from mlops_box_tui.details import DETAILS
from mlops_box_tui.registry import VIEWS
from mlops_box_tui.screens.help import HelpScreen
from mlops_box_tui.screens.history import HistoryScreen
from mlops_box_tui.screens.host import HostScreen
from mlops_box_tui.screens.logs import LogScreen
from mlops_box_tui.screens.sql import SqlScreen

from mlops_box.errors import UsageError

SCREENS = {
    "help": HelpScreen,
    "history": HistoryScreen,
    "host": HostScreen,
    "logs": LogScreen,
    "sql": SqlScreen,
}


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.name)
def test_a_command_is_understood_completed_and_listed(word: Word) -> None:
    assert word.name in completions(VIEWS, {}, ()) or any(
        offered.startswith(f"{word.name} ") for offered in completions(VIEWS, {}, ())
    )
    assert dict(command_help(VIEWS))[word.usage].startswith(word.says)
    for name in (word.name, *word.also):
        found = parse_command(f"{name} something" if word.takes else name, VIEWS)
        assert found.verb == ("show" if word.shows else word.name)
    if word.needs:
        with pytest.raises(UsageError, match=f":{word.name} needs a name"):
            parse_command(word.name, VIEWS)


def test_no_command_hides_a_view_and_each_thing_that_is_shown_has_its_screen() -> None:
    names = [name for word in WORDS for name in (word.name, *word.also)]
    assert len(names) == len(set(names))
    assert not set(names) & set(VIEWS)
    assert {word.shows for word in WORDS if word.shows} - {"model"} <= set(DETAILS)


async def test_every_command_does_something(open_app: Any, home: Path) -> None:
    async with open_app(home, start="runs", size=(120, 50)) as (app, driver):
        for word in WORDS:
            await driver.press("colon")
            await driver.type(f"{word.name} bike-rentals" if word.needs else word.name)
            await driver.press("enter")
            if word.name == "model":
                assert (app.main.place.view, app.main.place.scope) == ("versions", "bike-rentals")
            elif word.shows:
                assert isinstance(app.screen, DETAILS[word.shows])
            elif word.name == "pause":
                assert app.paused
            elif word.name == "theme":
                assert app.theme == "textual-dark"
            elif word.name == "quit":
                assert app._exit
                return
            else:
                assert isinstance(app.screen, SCREENS[word.name])
            while len(app.screen_stack) > 1:
                await driver.press("escape")
        raise AssertionError("quit is the last of the table")


async def test_the_help_lists_every_command(open_app: Any, home: Path) -> None:
    async with open_app(home, start="runs", size=(160, 120)) as (_, driver):
        await driver.press("question_mark")
        shown = driver.shown()
        for usage, _says in command_help(VIEWS):
            assert usage in shown
