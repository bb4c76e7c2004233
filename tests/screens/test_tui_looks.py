"""Screens that look at more than one row: the heat map, a question to a snapshot, the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlops_box_tui.screens.feature import FeatureScreen
from mlops_box_tui.screens.heatmap import HeatmapScreen

from mlops_box.box import Box
from mlops_box.operations.views import drift_heatmap


async def test_the_heat_map_tells_window_value_and_limit_and_leads_to_the_feature(
    open_app: Any, home: Path
) -> None:
    async with open_app(home, start="drift") as (app, driver):
        await driver.press("h")
        assert isinstance(app.screen, HeatmapScreen)
        shown = driver.shown()
        for word in ("bike-rentals@3", "weathersit", "ks 0.3400 limit 0.1000", "✗ drift", "rows 1 820"):
            assert word in shown
        await driver.press("left", "h")
        assert "ks 0.2200 limit 0.1000" in driver.shown()
        await driver.press("left", "left")
        assert "! note  ks 0.0900" in driver.shown()
        await driver.press("j", "enter")
        assert isinstance(app.screen, FeatureScreen)
        assert app.screen.subject == "bike-rentals/hum"
        await driver.press("escape", "escape")
        assert app.main.place.view == "drift"


def test_a_window_that_could_not_be_judged_is_unknown_in_the_map_not_fine(home: Path) -> None:
    with Box.open(home) as box:
        with box.db.write() as tx:
            tx.execute(
                'UPDATE windows SET finding = \'{"drift": {"outcome": "cannot_tell", "reason": "41 rows"}}\''
                " WHERE model = 'bike-rentals' AND starts_at = (SELECT MAX(starts_at) FROM windows WHERE number = 3)"
            )
        found = drift_heatmap(box, "bike-rentals", 3, windows=3)
    assert len(found.windows) == 3
    assert found.features[0] == "temp"
    assert [row[-1].severity for row in found.cells] == ["cannot_tell"] * 3
    assert {row[-1].reason for row in found.cells} == {"41 rows"}
    assert [cell.severity for cell in found.cells[0][:-1]] == ["drift", "drift"]
