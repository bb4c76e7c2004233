"""Foreign text is inert in every view, screen, question and message: shown as it is, never markup, never an escape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import seeded_box
import seeded_rollout
from driver import Driver, said
from field_box import add_devices, add_feature_view
from mlops_box_tui.registry import VIEWS
from mlops_box_tui.screens.host import HostScreen
from mlops_box_tui.screens.sql import SqlScreen
from textual.widgets import DataTable

from mlops_box.box import Box
from mlops_box.operations.query_snapshot import Answer
from mlops_box.operations.views import Gpu, Gpus

MARKUP = "[bold red]x[/]"
HOSTILE = f"{MARKUP} [@click=app.quit]z[/] [/] \x1b]0;owned\x07\x1b[2J\x9b31m\u202egpj.exe"
INERT = "\x1b\x07\x9b\u202e"
# Every column that people or programs of other people fill, by table.
FREE = {
    "runs": ("project", "error", "trigger"), "versions": ("project", "created_by"), "snapshots": ("project",),
    "refusals": ("project", "door"), "alerts": ("title", "note", "project"), "decisions": ("reason", "trigger", "project"),
    "rollouts": ("reason",), "devices": ("added_by",), "run_steps": ("name", "detail"), "run_points": ("name",),
}  # fmt: skip
JSON = {
    "runs": ("params", "result"), "versions": ("lineage", "metrics"), "snapshots": ("lineage",), "decisions": ("facts",),
}  # fmt: skip


@pytest.fixture
def hostile_home(tmp_path: Path) -> Path:
    """A box in which everything that may hold foreign text does."""
    home = seeded_rollout.seed(tmp_path / "box")
    with Box.open(home, clock=seeded_box.fixed_clock(), actor=HOSTILE) as box:
        add_devices(box)
        add_feature_view(box)
        with box.db.write() as tx:
            for table, columns in FREE.items():
                for place, row in enumerate(tx.read(f"SELECT rowid AS at FROM {table}")):
                    for column in columns:
                        tx.execute(
                            f"UPDATE {table} SET {column} = ? WHERE rowid = ?",
                            (f"{HOSTILE}{place}", row["at"]),
                        )
            for table, columns in JSON.items():
                for column in columns:
                    held = json.dumps({HOSTILE: 1.5 if column == "metrics" else HOSTILE, "mae": 40.0})
                    tx.execute(f"UPDATE {table} SET {column} = ?", (held,))
            for table, column in (("windows", "finding"), ("alerts", "finding"), ("versions", "signature"),
                                  ("versions", "gates"), ("snapshots", "verdict"), ("snapshots", "schema"),
                                  ("devices", "health")):  # fmt: skip
                _poison(tx, table, column)
        with box.db.write() as tx:
            box.ledger.append(tx, "rollout.noted", f"rollout:{seeded_rollout.ROLLOUT}", {"reason": HOSTILE})
    (home / "logs").mkdir(exist_ok=True)
    (home / "logs" / f"server-{MARKUP.replace('/', '')}.log").write_text(f"{HOSTILE}\n" * 5)
    return home


def _poison(tx: Any, table: str, column: str) -> None:
    """Hostile words wherever a stored object says something in words of its own."""
    words = ("name", "reason", "message", "text", "says", "rule", "trouble", "note")

    def within(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: within(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [within(inner, key) for inner in value]
        return HOSTILE if isinstance(value, str) and key in words else value

    for row in tx.read(f"SELECT rowid AS at, {column} AS held FROM {table}"):
        if row["held"]:
            told = json.dumps(within(json.loads(row["held"])))
            tx.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (told, row["at"]))


def inert(driver: Driver, *, hostile: bool = False) -> None:
    """What stands on the screen holds no control character; where it must be, the markup is there to be read."""
    shown = driver.shown()
    assert not set(INERT) & set(shown), shown
    assert MARKUP in shown or not hostile, shown


@pytest.mark.parametrize("view", list(VIEWS))
async def test_every_view_and_what_enter_opens_there(open_app: Any, hostile_home: Path, view: str) -> None:
    async with open_app(hostile_home, start=view, size=(200, 50)) as (app, driver):
        inert(driver, hostile=view in ("home", "runs", "alerts", "decisions", "data"))
        await driver.press("enter")
        deeper = app.screen
        for _ in range(10):
            inert(driver)
            await driver.press("right_square_bracket")
            if app.screen is not deeper:
                break
        await driver.press("enter", "question_mark")
        inert(driver)
        assert app.is_running


@pytest.mark.parametrize("keys", ["3 o", "3 o ] ]", "3 enter enter", "3 m ]", "5 h", "5 enter ]", "0 enter"])
async def test_every_deeper_screen(open_app: Any, hostile_home: Path, keys: str) -> None:
    async with open_app(hostile_home, size=(200, 50)) as (app, driver):
        await driver.press(*(key.replace("]", "right_square_bracket") for key in keys.split()))
        await driver.tick()
        inert(driver, hostile=True)
        assert not app.trouble


@pytest.mark.parametrize(
    "keys", ["6 A", "6 S", "6 X", "6 space space A", "7 A", "7 X", "3 o P", "3 B", "2 X", "2 R"]
)
async def test_every_question_and_what_is_told_of_an_act(
    open_app: Any, hostile_home: Path, keys: str
) -> None:
    async with open_app(hostile_home, size=(200, 50)) as (app, driver):
        await driver.press(*keys.split())
        inert(driver, hostile=True)
        await driver.press("escape")
        app.say_error(type("Told", (), {"message": HOSTILE, "hint": HOSTILE})())
        await driver.settle()
        inert(driver)
        assert MARKUP in said(driver)


async def test_log_lines_and_names_of_log_files(open_app: Any, hostile_home: Path) -> None:
    async with open_app(hostile_home, size=(200, 50)) as (app, driver):
        app.open_logs()
        await driver.settle()
        await driver.tick()
        inert(driver, hostile=True)


async def test_columns_and_values_of_an_answer_in_sql(open_app: Any, hostile_home: Path) -> None:
    async with open_app(hostile_home, size=(200, 50)) as (app, driver):
        app.push_screen(SqlScreen(None))
        await driver.settle()
        screen = app.screen
        assert isinstance(screen, SqlScreen)
        screen._show(Answer((HOSTILE, "b"), ((HOSTILE, 1), ([HOSTILE], {HOSTILE: HOSTILE})), more=False))
        await driver.settle()
        assert screen.query_one(DataTable).row_count == 2
        inert(driver, hostile=True)


async def test_names_of_gpus_and_what_nvidia_smi_says(open_app: Any, hostile_home: Path) -> None:
    async with open_app(hostile_home, size=(200, 50)) as (app, driver):
        app.push_screen(HostScreen())
        await driver.settle()
        screen = app.screen
        assert isinstance(screen, HostScreen)
        for found in (Gpus((Gpu("0", HOSTILE, None, None, None, None),), None), Gpus((), HOSTILE)):
            screen.gpus = found
            screen.redraw()
            await driver.settle()
            inert(driver, hostile=True)
