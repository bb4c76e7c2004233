"""Somebody who has read README and ``?`` finds out why a model was rolled back, and puts it back."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from driver import Driver, said
from mlops_box_tui.app import BoxApp
from mlops_box_tui.settings import Settings
from monitor_case import MODEL, Case
from rolled_back_box import EVIDENCE, rolled_back

from mlops_box.box import Box

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


# What a keyboard has where the screen draws a sign.
NAMES = {"⏎": "enter", "esc": "escape"}


class NewUser:
    """Knows what README says, and presses what the screen says: no key is known beforehand."""

    def __init__(self, driver: Driver):
        self._driver = driver

    def sees(self, *texts: str) -> str:
        """All of that stands on the screen, wherever its lines are broken."""
        shown = self._driver.shown()
        words = " ".join(re.sub(r"[│╭╮╰╯─]", " ", shown).split())
        for text in texts:
            assert text in words, f"{text!r} is not there:\n{shown}"
        return shown

    async def key_for(self, *words: str) -> str:
        """Opens the help, reads which key does it, closes the help."""
        await self._driver.press("question_mark")
        found = None
        for _ in range(60):
            # Between the borders of the help: what lies beside it is the screen below.
            lines = [" ".join(line.split("│")[1:-1]).strip() for line in self._driver.shown().splitlines()]
            found = next((line for line in lines if all(word in line for word in words)), None)
            if found is not None:
                break
            await self._driver.press("down")
        assert found is not None, f"the help names no key for {words}:\n{self._driver.shown()}"
        await self._driver.press("escape")
        return NAMES.get(found.split()[0], found.split()[0])

    async def does(self, *words: str) -> None:
        """Presses the key that the help names for it."""
        key = await self.key_for(*words)
        await (self._driver.type(key) if len(key) == 1 else self._driver.press(key))


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    with rolled_back(tmp_path) as made:
        yield made


@asynccontextmanager
async def at_home(case: Case, size: tuple[int, int]) -> AsyncIterator[tuple[NewUser, Driver]]:
    with Box.open(case.box.home, clock=case.clock, actor="ana", read_only=True) as box:
        app = BoxApp(box, settings=Settings())
        app.animation_level = "none"
        async with app.run_test(size=size) as pilot:
            driver = Driver(app, pilot)
            await driver.settle()
            yield NewUser(driver), driver


@pytest.mark.parametrize("size", [(120, 36), (80, 24)], ids=["120x36", "80x24"])
async def test_why_a_model_was_rolled_back_is_found_and_it_is_put_back(
    case: Case, size: tuple[int, int]
) -> None:
    assert "mlops-box tui" in README
    async with at_home(case, size) as (user, driver):
        # Home says what happened, and how long ago.
        user.sees("v2 rolled back 3m ago: errors:")
        await user.does("Go to models.")
        user.sees("v2 rolled back")
        # Why, in words and numbers.
        await user.does("The rollout of the model")
        user.sees("rolled back", EVIDENCE, "2.00% more are allowed")
        await user.does("The next tab.")
        user.sees("errors", "bad", "latency", "good")
        # Back it goes, against that evidence: the question says so.
        await user.does("Make the version the champion")
        user.sees(
            f"{MODEL}@2 was rolled back 3m ago", EVIDENCE, "v1 -> v2", f"mlops-box models promote {MODEL}@2"
        )
        await driver.type("the client was broken")
        user.sees("--reason 'the client was broken'")
        await driver.press("enter", "y")
        assert f"{MODEL}@2 is the champion now, instead of {MODEL}@1" in said(driver)
        await driver.press("escape")
        await driver.tick()
        user.sees("v2")
        assert "rolled back" not in driver.shown()
    assert case.box.models.champion_ref(MODEL) == f"{MODEL}@2"
    newest = case.box.ledger.entries(limit=1)[0]
    assert (newest.act, newest.actor) == ("model.promote", "ana")
    assert "the client was broken" in str(newest.facts)


async def test_a_version_tells_that_it_was_rolled_back_and_leads_to_the_evidence(case: Case) -> None:
    async with at_home(case, (120, 36)) as (user, driver):
        await user.does("Go to models.")
        await user.does("Go deeper")
        user.sees("v2", "rolled back", EVIDENCE)
        await user.does("Go deeper")
        user.sees(f"{MODEL}@2", "rolled back", EVIDENCE)
        await driver.press("left_square_bracket")
        user.sees("the evidence: rolled back")
        await user.does("Go deeper")
        user.sees("2.00% more are allowed")
