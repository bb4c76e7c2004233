"""Screens that look at more than one row: the heat map, a question to a snapshot, the host."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from data_case import admit, project_over
from mlops_box_tui.screens.feature import FeatureScreen
from mlops_box_tui.screens.heatmap import HeatmapScreen
from mlops_box_tui.screens.host import HostScreen
from mlops_box_tui.screens.sql import SqlScreen
from textual.widgets import DataTable, Input

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


async def test_a_snapshot_is_asked_in_sql_and_what_is_wrong_is_said_below_the_line(
    open_app: Any, home: Path
) -> None:
    (home.parent / "rows.csv").write_text("x,y\n1,0.5\n2,0.25\n3,[red]\n")
    with Box.open(home) as box:
        admit(box, project_over(home.parent, "rows.csv", target="x", features=["y"]))
    async with open_app(home, start="data") as (app, driver):
        await driver.press("i")
        assert isinstance(app.screen, SqlScreen)
        assert "case" in driver.shown()
        line = app.screen.query_one(Input)
        line.value = "select sum(x) as total, any_value(y) as y from data where y = '[red]'"
        await driver.press("enter")
        assert app.screen.query_one(DataTable).row_count == 1
        for word in ("total", "[red]", "1 rows"):
            assert word in driver.shown()
        line.value = "delete from data"
        await driver.press("enter")
        assert "a question is one SELECT" in driver.shown()
        line.value = "select * from read_text('/etc/passwd')"
        await driver.press("enter")
        assert "may read the view `data` and nothing else" in " ".join(driver.shown().split())
        await driver.press("q")
        assert "q" in line.value
        await driver.press("tab", "q")
        assert app.main.place.view == "data"
        await driver.press("colon")
        await driver.type("sql ffff")
        await driver.press("enter")
        assert "no snapshot" in driver.shown()


async def test_the_host_shows_the_machine_and_the_processes_of_the_box(
    open_app: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(home))
    async with open_app(home) as (app, driver):
        await driver.press("m")
        assert isinstance(app.screen, HostScreen)
        shown = driver.shown()
        for word in ("? of", "free of", "no GPU: nvidia-smi is not here", f"{os.getpid()}", "this program"):
            assert word in shown
        await driver.press("q", "colon")
        await driver.type("host")
        await driver.press("enter")
        assert isinstance(app.screen, HostScreen)
