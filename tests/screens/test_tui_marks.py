"""Acts on many marked rows: one question, each row's effect, refusals beforehand, what failed, all taken back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import seeded_box
from hypothesis import given
from hypothesis import strategies as st
from mlops_box_tui.acts import alerts as alert_acts
from mlops_box_tui.acts.act import Act, Done, Field, Plan, Undo
from mlops_box_tui.acts.confirm import ActScreen
from mlops_box_tui.acts.group import Group, Target, outcome, plan_group
from mlops_box_tui.acts.journal import UNDO_WITHIN, Journal
from mlops_box_tui.views.alerts import AlertsView

from mlops_box.box import Box
from mlops_box.errors import NotFoundError, UsageError
from mlops_box.home import Home

ALERTS = tuple(f"01manyalert{number:02}000000000" for number in range(12))


@pytest.fixture
def home(acted_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copied = Path(shutil.copytree(acted_home, tmp_path / "box"))
    monkeypatch.setenv("MLOPS_BOX_HOME", str(copied))
    with Box.open(copied, clock=seeded_box.fixed_clock(), actor="ana") as box:
        for place, alert in enumerate(ALERTS):
            seeded_box.insert(
                box, "alerts", id=alert, dedupe=f"many:{place}", project="houses", model="houses", number=1,
                kind="drift", severity="warning", state="resolved" if place == 0 else "open", note="",
                resolved_at=seeded_box.ago(minutes=1) if place == 0 else None, title=f"column {place} drifted",
                finding={}, count=place + 1, opened_at=seeded_box.ago(hours=2),
                updated_at=seeded_box.ago(minutes=place + 1),
            )  # fmt: skip
    return copied


@pytest.fixture
def reading(home: Path) -> Iterator[Callable[[Callable[[Box], Any]], Any]]:
    with Box.open(home, clock=seeded_box.fixed_clock(), read_only=True) as box:
        yield lambda look: look(box)


def said(app: Any) -> str:
    return "\n".join(note.message for note in app._notifications)


async def fill(driver: Any, *texts: str) -> None:
    for text in texts:
        await driver.type(text)
        await driver.press("enter")


async def mark_many(driver: Any) -> None:
    """The twelve alerts above, marked by the filter, which is cleared again."""
    await driver.press("slash")
    await fill(driver, "column")
    await driver.press("asterisk")
    await driver.press("escape")


def states(box: Box) -> list[str]:
    return [box.alerts.get(alert).state for alert in ALERTS]


async def test_all_marked_alerts_are_acknowledged_by_one_answer_and_z_opens_them_all_again(
    open_app: Any, home: Path, reading: Any
) -> None:
    async with open_app(home, start="alerts", size=(120, 60)) as (app, driver):
        await mark_many(driver)
        assert "12 marked" in driver.shown()
        await driver.press("A")
        shown = driver.shown()
        for text in (
            "acknowledge 12 alerts",
            "11 of 12 alerts:",
            "column 1 drifted",
            "seen 2 times, open",
            "and 1 more",
            "each: it goes on counting and resolves by itself",
            "1 of 12 cannot, and stay as they are:",
            f"{ALERTS[0]}: the alert is resolved",
        ):
            assert text in shown, text
        await driver.type("summer")
        for alert in ALERTS[1:]:
            assert f"alerts ack {alert} --note summer" in driver.shown()
        await driver.press("enter")
        assert reading(states) == ["resolved"] + ["acknowledged"] * 11
        assert "acknowledge: 11 of 12 alerts done" in said(app)
        assert len(app.performer.journal.entries) == 11
        assert "1 marked" in driver.shown(), "the one that could not be done keeps its mark"
        await driver.press("z")
        assert "undo: un-ack 11 acts" in driver.shown()
        await driver.press("enter")
        assert reading(states) == ["resolved"] + ["open"] * 11


async def test_the_commands_of_all_rows_are_copied(open_app: Any, home: Path) -> None:
    async with open_app(home, start="alerts", size=(120, 60)) as (app, driver):
        await mark_many(driver)
        await driver.press("X")
        await fill(driver, "over")
        await driver.press("c")
        lines = app.clipboard.splitlines()
        assert len(lines) == 11
        assert lines == [f"mlops-box alerts resolve {line.split()[3]} --reason over" for line in lines]
        assert {line.split()[3] for line in lines} == set(ALERTS[1:])


async def test_marks_of_rows_that_are_filtered_away_are_counted_listed_and_acted_on(
    open_app: Any, home: Path, reading: Any
) -> None:
    async with open_app(home, start="alerts", size=(120, 60)) as (_, driver):
        await mark_many(driver)
        await driver.press("slash")
        await fill(driver, "area")
        assert "12 marked, 12 of them not shown" in driver.shown()
        await driver.press("A")
        assert "column 3 drifted" in driver.shown()
        await fill(driver, "known")
        assert reading(states).count("acknowledged") == 11
        # The filter goes first, then the marks.
        await driver.press("escape")
        assert "1 marked" in driver.shown()
        await driver.press("escape")
        assert "marked" not in driver.shown()


async def test_an_act_that_takes_one_row_is_refused_while_several_are_marked(
    open_app: Any, home: Path, reading: Any
) -> None:
    async with open_app(home, start="models") as (app, driver):
        await driver.press("enter", "space", "space", "P")
        assert "promote: it takes one row, and 2 are marked; esc takes the marks away" in said(app)
        assert not isinstance(app.screen, ActScreen)
        # One mark: the marked row is meant, wherever the cursor is.
        await driver.press("escape", "g", "j", "space", "g", "P")
        assert "houses@3" in driver.shown()
        await driver.press("escape")
    assert reading(lambda box: box.models.champion_ref("houses")) == "houses@1"


async def test_versions_are_deleted_only_when_how_many_is_typed(
    open_app: Any, home: Path, reading: Any
) -> None:
    async with open_app(home, start="models", size=(120, 50)) as (app, driver):
        await driver.press("enter", "asterisk", "D")
        shown = driver.shown()
        assert "delete 4 versions" in shown
        assert "3 of 4 cannot" in shown
        assert "houses@4: houses@4 stays: it is the newest version" in shown
        await fill(driver, "twins", "delete 4")
        assert "type delete 1, exactly" in driver.shown()
        await driver.press("backspace")
        await fill(driver, "1")
        assert "delete: 1 of 4 versions done" in said(app)
    with pytest.raises(NotFoundError):
        reading(lambda box: box.models.get("houses@3"))
    assert reading(lambda box: box.models.get("houses@2")).number == 2


async def test_what_fails_midway_is_told_and_the_rest_is_done(
    open_app: Any, home: Path, reading: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = alert_acts.ACKNOWLEDGE.run
    assert real is not None

    def sometimes(box: Box, row: Any, form: Any) -> Done:
        if row.id == ALERTS[5]:
            raise UsageError("somebody resolved it meanwhile")
        return real(box, row, form)

    act = replace(alert_acts.ACKNOWLEDGE, run=sometimes)
    monkeypatch.setattr(AlertsView, "ACTS", (act, *AlertsView.ACTS[1:]))
    async with open_app(home, start="alerts", size=(120, 60)) as (app, driver):
        await mark_many(driver)
        await driver.press("A")
        await fill(driver, "known")
        assert f"10 of 12 alerts done, 1 not: {ALERTS[5]}: somebody resolved it meanwhile" in said(app)
        assert reading(states).count("acknowledged") == 10
        outcomes = [entry.outcome for entry in app.performer.journal.entries]
        assert outcomes.count("not done: somebody resolved it meanwhile") == 1
        assert "2 marked" in driver.shown()
        await driver.press("z", "enter")
        assert reading(states).count("open") == 11


# The grouping by itself.


def an_act() -> Act[int]:
    def plan(_box: Any, row: int) -> Plan:
        if row % 5 == 0:
            raise UsageError(f"{row} is held")
        return Plan(
            (f"row {row}", "for all"), (Field("reason", "why"), Field("own", "own", f"own {row}", fixed=True))
        )

    return Act(
        id="try", key="T", label="try", tooltip="Try.", danger="name", plan=plan, many=True,
        cli=lambda row, form: ["try", str(row), form["reason"], form["own"]],
        applies=lambda row: f"{row} is odd" if row % 2 else None,
    )  # fmt: skip


@given(st.lists(st.integers(0, 200), unique=True, max_size=60))
def test_every_marked_row_is_done_or_refused_with_its_reason_and_no_row_twice(rows: list[int]) -> None:
    box: Any = None
    found = plan_group(box, Group(an_act(), tuple(Target(f"r{row}", row) for row in rows), "rows"))
    can = [row for row in rows if row % 2 == 0 and row % 5]
    assert [one.target.row for one in found.planned] == can
    refused = {target.row: why for target, why in found.refused}
    assert refused == {
        row: f"{row} is odd" if row % 2 else f"{row} is held" for row in rows if row not in can
    }
    home = Home(Path("/a box"))
    lines = found.commands(home, {"reason": "so it is"})
    assert [line.partition(" --home")[0] for line in lines] == [
        f"mlops-box try {row} 'so it is' 'own {row}'" for row in can
    ]
    assert [one.name for one in found.asked] == (["reason"] if can else [])
    assert found.word == f"try {len(can)}"
    text = "\n".join(found.lines)
    assert all(f"  r{row}: {why}" in text for row, why in refused.items())
    assert ("and 1 more" in text) == (len(can) == 11)


@given(st.lists(st.tuples(st.sampled_from([None, 1, 2]), st.booleans(), st.integers(0, 40)), max_size=20))
def test_z_takes_back_the_newest_act_with_its_whole_group_and_nothing_else(
    acts: list[tuple[int | None, bool, int]],
) -> None:
    journal = Journal()
    for group, undoable, minutes in acts:
        undo = Undo(an_act(), 1) if undoable else None
        journal.add(seeded_box.NOW - timedelta(minutes=minutes), "line", "done", undo, group=group)
    found = journal.undoable(seeded_box.NOW)
    can = [one for one in journal.entries if one.undo and seeded_box.NOW - one.at <= UNDO_WITHIN]
    assert bool(found) == bool(can)
    if found:
        assert found[-1] == can[-1]
        wanted = [can[-1]] if can[-1].group is None else [one for one in can if one.group == can[-1].group]
        assert list(found) == wanted


def test_what_was_not_tried_is_said() -> None:
    group = Group(an_act(), tuple(Target(f"r{row}", row) for row in range(6)), "rows")
    assert outcome(group, 2, [("r7", "the disk is full")], 3) == (
        "try: 2 of 6 rows done, 1 not: r7: the disk is full; 3 not tried"
    )
