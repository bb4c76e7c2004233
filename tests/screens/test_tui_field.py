"""Devices in the field, feature views and rollouts, in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import seeded_box
from field_box import add_devices, add_feature_view
from mlops_box_tui.screens.device import DeviceScreen
from mlops_box_tui.screens.feature_view import FeatureViewScreen
from mlops_box_tui.screens.rollout import RolloutScreen

from mlops_box.box import Box
from mlops_box.serving.rollout.plan import Plan
from mlops_box.serving.rollout.yardstick import yardstick_for


async def test_devices_tell_what_they_serve_and_enter_shows_their_slots(open_app: Any, home: Path) -> None:
    with Box.open(home, clock=seeded_box.fixed_clock(), actor="ana") as box:
        add_devices(box)
    async with open_app(home, start="devices") as (app, driver):
        shown = driver.shown()
        assert all(word in shown for word in ("gate-1", "bike-rentals@3", "1 234", "3m ago", "gate-2", "new"))
        assert "a*v3✓ b v2?" in shown, "a version that nobody judged there is unknown"
        app.main.view.filter("state:new")
        await driver.settle()
        assert app.main.view.table.row_count == 1
        app.main.view.filter("")
        await driver.settle()
        await driver.press("s", "g", "enter")
        assert isinstance(app.screen, DeviceScreen)
        shown = driver.shown()
        assert all(word in shown for word in ("gate-", "slots", "key"))
    async with open_app(home, start="devices", size=(80, 24)) as (_, driver):
        bar = driver.shown().splitlines()[1]
        assert "0 devices" in bar
        assert "1 home" in bar


async def test_feature_views_show_columns_freshness_and_sql(open_app: Any, home: Path) -> None:
    with Box.open(home, clock=seeded_box.fixed_clock(), actor="ana") as box:
        add_feature_view(box)
    async with open_app(home, start="features") as (app, driver):
        shown = driver.shown()
        assert all(word in shown for word in ("activity", "v1", "card_id", "spent")), shown
        await driver.press("enter")
        assert isinstance(app.screen, FeatureViewScreen)
        assert "amount as spent" in driver.shown()
        for words in ("default", "waiting", "tx.parquet", "digest"):
            await driver.press("right_square_bracket")
            assert words in driver.shown()


async def test_o_opens_a_rollout_with_what_it_waits_for_and_its_transitions(
    open_app: Any, home: Path
) -> None:
    with Box.open(home, clock=seeded_box.fixed_clock(), actor="ana") as box:
        version, plan = box.models.get("bike-rentals@2"), Plan(shadow="1h", canary=(10, 50), step="1h")
        yardstick = yardstick_for(version.signature, [], error=1.0)
        box.rollouts.propose(version, base=3, plan=plan, yardstick=yardstick, reason="it is newer")
    async with open_app(home, start="models") as (app, driver):
        app.main.view.filter("bike")
        await driver.settle()
        await driver.press("o")
        assert isinstance(app.screen, RolloutScreen)
        shown = driver.shown()
        assert all(
            word in shown for word in ("bike-rentals@2 over bike-rentals@3", "proposed", "waits for")
        ), shown
        for words in ("nothing was judged", "it is newer"):
            await driver.press("right_square_bracket")
            assert words in driver.shown(), driver.shown()
        await driver.press("escape", "escape", "colon")
        await driver.type("rollout digits")
        await driver.press("enter")
        assert "no rollout of digits yet" in driver.shown()
