"""From an alert to the thing that caused it, in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import seeded_box
from mlops_box_tui.screens.alert import AlertScreen
from mlops_box_tui.screens.batch import BatchScreen
from mlops_box_tui.screens.device import DeviceScreen
from mlops_box_tui.screens.feature_view import FeatureViewScreen
from mlops_box_tui.screens.run import RunScreen

from mlops_box.box import Box
from tests.feature_case import view_over

CAUSES = [
    ("device", {"device": "gate-1", "troubles": []}, DeviceScreen, "gate-1"),
    ("parity", {"definitions": {"activity@1": "5f"}}, FeatureViewScreen, "amount as spent"),
    ("data", {"refusal": {"id": "01refusalwithasteadyid"}}, BatchScreen, "42.2% bad rows"),
    ("pipeline", {"runs": [{"id": "01aaaaaaaaaafailed00000", "kind": "score", "state": "failed"}]}, RunScreen, "torque"),
]  # fmt: skip


def add_alert(home: Path, kind: str, finding: dict[str, Any]) -> None:
    with Box.open(home, clock=seeded_box.fixed_clock(), actor="ana") as box:
        box.devices.add("gate-1", b"1" * 32)
        box.features.register(
            view_over("select card_id, happened_at, amount as spent from tx", {"spent": "double"})
        )
        box.alerts.raise_or_update(
            project="bike-rentals", model="cause", number=None, kind=kind, severity="error",
            title="what came of it", finding=finding,
        )  # fmt: skip


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
@pytest.mark.parametrize(("kind", "finding", "screen", "word"), CAUSES)
async def test_the_first_link_of_an_alert_opens_what_caused_it(
    open_app: Any, home: Path, size: tuple[int, int], kind: Any, finding: Any, screen: Any, word: str
) -> None:
    add_alert(home, kind, finding)
    async with open_app(home, start="alerts", size=size) as (app, driver):
        app.main.view.filter("model:cause")
        await driver.settle()
        await driver.press("enter", "left_square_bracket")
        assert isinstance(app.screen, AlertScreen)
        await driver.press("enter")
        assert isinstance(app.screen, screen)
        assert word in driver.shown()
        await driver.press("escape")
        assert isinstance(app.screen, AlertScreen)


async def test_a_hostile_name_in_a_finding_is_text_and_a_cause_that_is_gone_is_said(
    open_app: Any, home: Path
) -> None:
    add_alert(home, "device", {"device": "[red]gate[/]\x1b[31m\nx", "troubles": []})
    async with open_app(home, start="alerts") as (app, driver):
        app.main.view.filter("model:cause")
        await driver.settle()
        await driver.press("enter", "left_square_bracket")
        shown = driver.shown()
        assert "[red]gate[/]" in shown
        assert "\x1b" not in shown
        await driver.press("enter")
        assert isinstance(app.screen, DeviceScreen)
        assert "no device" in driver.shown()
        assert "\x1b" not in driver.shown()
