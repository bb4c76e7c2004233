"""A checked batch in the terminal: the rows that broke a rule, and the contract that said so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from driver import Driver
from mlops_box_tui.app import BoxApp
from mlops_box_tui.screens.batch import BatchScreen

from mlops_box.box import Box
from mlops_box.operations.check import check
from mlops_box.operations.views import batch_detail
from mlops_box.project import load_project

HOSTILE = "[bold]x[/] \x1b]0;owned\x07"
PROJECT = """
[project]
name = "rooms"
[data]
source = "rooms.csv"
key = ["room"]
[data.contract]
hum = { type = "double", min = 0, max = 1 }
room = { type = "varchar" }
rent = { type = "double" }
quarantine = "50%"
[model]
task = "regression"
target = "rent"
features = ["hum"]
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "rooms"
    folder.mkdir()
    (folder / "mlops.toml").write_text(PROJECT)
    (folder / "train.py").write_text("def build(params):\n    raise NotImplementedError\n")
    lines = [f"0.{number},room {number},{700 + number}" for number in range(1, 9)]
    lines += ["7.5,the cellar,400", f'9.5,"{HOSTILE}",500']
    (folder / "rooms.csv").write_text("\n".join(["hum,room,rent", *lines]) + "\n")
    with Box.open(tmp_path / "box", actor="ana") as box:
        check(box, load_project(folder))
    return tmp_path / "box"


async def _open(app: BoxApp, driver: Driver) -> None:
    await driver.press("enter")
    assert isinstance(app.screen, BatchScreen)


@pytest.mark.parametrize("size", [(120, 36), (80, 24)], ids=["120x36", "80x24"])
async def test_the_rows_that_broke_a_rule_stand_there_with_what_broke_it(
    open_app: Any, home: Path, size: tuple[int, int]
) -> None:
    async with open_app(home, start="data", size=size) as (app, driver):
        await _open(app, driver)
        await driver.press("right_square_bracket")
        shown = driver.shown()
        for part in ("hum.max", "hum=7.5", "room=the cellar", "hum=9.5", "[bold]x[/]"):
            assert part in shown
        assert "\x1b]0" not in shown


async def test_the_contract_stands_beside_the_batch_it_judged(open_app: Any, home: Path) -> None:
    async with open_app(home, start="data") as (app, driver):
        await _open(app, driver)
        await driver.press("right_square_bracket", "right_square_bracket")
        shown = driver.shown()
        for part in ("the batch was judged by this contract", "at least 0.0; at most 1.0", "50.00%"):
            assert part in shown


def test_a_quarantine_that_is_gone_is_said_and_not_taken_for_empty(home: Path) -> None:
    with Box.open(home) as box:
        snapshot = box.snapshots.list(None, limit=1)[0]
        assert snapshot.quarantine_digest is not None
        assert len(batch_detail(box, snapshot.id).quarantine.rows) == 2
        path = box.objects.path(snapshot.quarantine_digest)
        path.chmod(0o600)
        content = path.read_bytes()
        path.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
        changed = batch_detail(box, snapshot.id).quarantine
        path.unlink()
        gone = batch_detail(box, snapshot.id).quarantine
    for found in (changed, gone):
        assert (found.rows, found.total) == ((), None)
        assert found.trouble


def test_a_repeated_key_is_shown_by_the_columns_of_the_key(home: Path) -> None:
    folder = home.parent / "rooms"
    with (folder / "rooms.csv").open("a") as file:
        file.write("0.5,room 1,1\n0.5,room 20,900\n")
    with Box.open(home, actor="ana") as box:
        snapshot = check(box, load_project(folder)).snapshot
        assert snapshot is not None
        bad = batch_detail(box, snapshot.id).quarantine.rows
    assert ("room", "room 1") in [pair for row in bad if "key.unique" in row.rules for pair in row.broken]


def test_an_edited_contract_is_said_to_be_another_one(home: Path) -> None:
    folder = home.parent / "rooms"
    with Box.open(home, actor="ana") as box:
        snapshot = box.snapshots.list(None, limit=1)[0].id
        same = batch_detail(box, snapshot).contract
        (folder / "mlops.toml").write_text(PROJECT.replace("max = 1", "max = 8"))
        check(box, load_project(folder))
        edited = batch_detail(box, snapshot).contract
    assert same is not None
    assert edited is not None
    assert (same.same, edited.same) == (True, False)
