"""What a person does from the terminal: what is asked, what happens, how it is taken back."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import acted_box
import pytest
import seeded_box
from mlops_box_tui.acts import alerts as alert_acts
from mlops_box_tui.acts import performer
from mlops_box_tui.acts.act import Done, home_arguments
from mlops_box_tui.acts.commands import Started, start_command
from mlops_box_tui.acts.confirm import ActScreen
from mlops_box_tui.screens.history import HistoryScreen
from mlops_box_tui.views.alerts import AlertsView

from mlops_box.box import Box
from mlops_box.errors import NotFoundError
from mlops_box.operations.verify import verify
from mlops_box.runs import process_owner

HOSTILE = "[bold red]x[/] [@click=app.quit]z[/] \x1b]0;owned\x07"


@pytest.fixture
def home(acted_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The box of the environment: the commands shown need not name it."""
    copied = Path(shutil.copytree(acted_home, tmp_path / "box"))
    monkeypatch.setenv("MLOPS_BOX_HOME", str(copied))
    return copied


@pytest.fixture
def reading(home: Path) -> Iterator[Callable[[Callable[[Box], Any]], Any]]:
    """``reading(lambda box: ...)`` looks at the box beside the screen."""
    with Box.open(home, clock=seeded_box.fixed_clock(), read_only=True) as box:
        yield lambda look: look(box)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that would be started as processes of their own."""
    started: list[list[str]] = []

    def note(home: Any, clock: Any, arguments: list[str]) -> Started:
        started.append(list(arguments))
        return Started(tuple(arguments), home.logs / "none.log", subprocess.Popen([sys.executable, "-c", ""]))

    monkeypatch.setattr(performer, "start_command", note)
    return started


async def fill(driver: Any, *texts: str) -> None:
    for text in texts:
        await driver.type(text)
        await driver.press("enter")


def said(app: Any) -> str:
    return "\n".join(note.message for note in app._notifications)


async def versions(driver: Any, number: int) -> None:
    """To a version in the list of versions, which begins with houses@4."""
    await driver.press("enter", *["j"] * (4 - number))


async def test_promote_shows_numbers_and_the_command_asks_and_z_rolls_back(
    open_app: Any, home: Path, reading: Any
) -> None:
    async with open_app(home, start="models") as (app, driver):
        await versions(driver, 3)
        await driver.press("P")
        shown = driver.shown()
        for word in (
            "champion of houses: v1 -> v3",
            "mae ",
            "(+0)",
            "gates: ",
            "the rollout of houses@2",
            "y yes",
        ):
            assert word in shown, shown
        await fill(driver, "it is better")
        assert "$ mlops-box models promote houses@3 --reason 'it is better'" in driver.shown()
        assert reading(lambda box: box.models.champion_ref("houses")) == "houses@1"
        await driver.press("y")
        assert reading(lambda box: box.models.champion_ref("houses")) == "houses@3"
        assert "houses@3 is the champion now, instead of houses@1  (z undoes it)" in said(app)
        await driver.press("z")
        assert "$ mlops-box rollback houses --reason 'undo: promotion of houses@3'" in driver.shown()
        await driver.press("y")
        assert reading(lambda box: box.models.champion_ref("houses")) == "houses@1"
        await driver.press("colon")
        await driver.type("history")
        await driver.press("enter")
        assert isinstance(app.screen, HistoryScreen)
        assert "models promote houses@3" in driver.shown()
        assert "undone: houses@3" in driver.shown()
        await driver.press("y")
        assert app.clipboard.startswith("mlops-box rollback houses")


async def test_an_undo_is_refused_once_somebody_else_has_changed_it(
    open_app: Any, home: Path, reading: Any
) -> None:
    async with open_app(home, start="models") as (app, driver):
        await versions(driver, 3)
        await driver.press("P")
        await fill(driver, "better")
        await driver.press("y")
        with Box.open(home, clock=seeded_box.fixed_clock()) as box:
            box.models.set_champion(box.models.get("houses@4"), reason="meanwhile")
        await driver.press("z", "y")
        assert "can no longer be undone: the champion is houses@4 meanwhile" in said(app)
        assert reading(lambda box: box.models.champion_ref("houses")) == "houses@4"


async def test_a_greyed_key_says_why_and_a_refusal_shows_its_hint(
    open_app: Any, home: Path, reading: Any
) -> None:
    head = reading(lambda box: box.ledger.head())
    async with open_app(home, start="models") as (app, driver):
        await versions(driver, 1)
        await driver.press("P")
        assert "promote: houses@1 is the champion" in said(app)
        await driver.press("B")
        assert "no earlier champion to go back to" in driver.shown()
        assert "try: promote a version with P instead" in driver.shown()
        await driver.press("y", "escape")
        assert not isinstance(app.screen, ActScreen)
    assert reading(lambda box: box.ledger.head()) == head


async def test_readonly_greys_every_act_with_the_reason(open_app: Any, home: Path, reading: Any) -> None:
    head = reading(lambda box: box.ledger.head())
    async with open_app(home, start="alerts", read_only=True) as (app, driver):
        for key in ("A", "S", "X", "R", "T", "M", "z"):
            app.clear_notifications()
            await driver.press(key)
            assert "--readonly" in said(app), key
            assert not isinstance(app.screen, ActScreen)
    assert reading(lambda box: box.ledger.head()) == head


async def test_no_leaves_everything_as_it_is(open_app: Any, home: Path, reading: Any) -> None:
    head = reading(lambda box: box.ledger.head())
    async with open_app(home, start="decisions") as (_, driver):
        await driver.press("X")
        await fill(driver, "never mind")
        await driver.press("n")
        await driver.press("X", "enter", "y")
        assert "this has to be filled in" in driver.shown()
        await driver.press("escape")
    assert reading(lambda box: box.ledger.head()) == head


async def test_a_rollout_is_held_let_go_and_ended(open_app: Any, home: Path, reading: Any) -> None:
    def paused(box: Box) -> bool:
        return box.rollouts.open("houses")[0].paused_at is not None

    async with open_app(home, start="models") as (app, driver):
        await driver.press("H")
        assert "houses@2 over houses@1: proposed" in driver.shown()
        await fill(driver, "wait for Monday")
        assert reading(paused)
        await driver.press("z", "enter")
        assert not reading(paused)
        await driver.press("C", "escape", "X")
        await fill(driver, "not now")
        await driver.press("y")
        assert "the rollout of houses@2 is over; houses@1 answers every request" in said(app)
        assert reading(lambda box: box.rollouts.open("houses")) == []


async def test_a_rollout_is_started_and_the_rest_of_it_skipped(
    open_app: Any, home: Path, reading: Any
) -> None:
    with Box.open(home, clock=seeded_box.fixed_clock()) as box:
        from mlops_box.operations.rollout import abort

        abort(box, "houses", reason="test")
    async with open_app(home, start="models") as (_, driver):
        await versions(driver, 3)
        await driver.press("S")
        assert "houses@3 over houses@1: shadow, canary 10 %, canary 50 %" in driver.shown()
        await fill(driver, "try it")
        await driver.press("y")
        assert reading(lambda box: box.rollouts.open("houses")[0].ref) == "houses@3"
        await driver.press("K")
        await fill(driver, "sure of it")
        await driver.press("y")
        assert reading(lambda box: box.models.champion_ref("houses")) == "houses@3"
        await driver.press("B")
        await fill(driver, "not so sure")
        await driver.press("y")
        assert reading(lambda box: box.models.champion_ref("houses")) == "houses@1"


async def test_an_approval_names_who_and_why(open_app: Any, home: Path, reading: Any) -> None:
    async with open_app(home, start="models") as (app, driver):
        app.box.actor = "ben"
        await versions(driver, 3)
        await driver.press("enter", "V")
        assert "houses@3 is approved by ben" in driver.shown()
        await fill(driver, "looked at the slices")
        await driver.press("y")
        found = reading(lambda box: box.approvals.list(box.models.get("houses@3")))
        assert [(one.approved_by, one.reason) for one in found] == [("ben", "looked at the slices")]


async def test_an_alert_is_acknowledged_snoozed_opened_and_resolved(
    open_app: Any, home: Path, reading: Any
) -> None:
    def alert(box: Box) -> Any:
        return box.alerts.get(acted_box.ALERT)

    async with open_app(home, start="alerts") as (app, driver):
        await driver.press("A")
        await fill(driver, "the sensor is replaced")
        assert (reading(alert).state, reading(alert).note) == ("acknowledged", "the sensor is replaced")
        await driver.press("z", "enter")
        assert reading(alert).state == "open"
        await driver.press("S")
        await fill(driver, "Monday", "")
        assert "quiet until 2026-03-15 18:05" in said(app)
        await driver.press("U", "enter")
        assert reading(alert).snoozed_until is None
        await driver.press("X")
        await fill(driver, "it was the sensor")
        await driver.press("y")
        assert reading(alert).state == "resolved"
        await driver.press("A")
        assert "acknowledge: the alert is resolved" in said(app)


async def test_a_suggestion_is_declined_for_good(open_app: Any, home: Path, reading: Any) -> None:
    async with open_app(home, start="decisions") as (_, driver):
        await driver.press("X")
        assert "drift in area" in driver.shown()
        await fill(driver, "summer")
        await driver.press("y")
        decision = reading(lambda box: box.decisions.get(acted_box.SUGGESTION))
        assert decision.state == "withheld"
        assert "summer" in decision.reason


async def test_a_run_is_cancelled_and_its_process_is_told(open_app: Any, home: Path, reading: Any) -> None:
    # A shell may have left interrupts ignored for us; a person's terminal does not.
    sleeps = "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", sleeps]) as process:
        try:
            owner = process_owner(process.pid)
            assert owner is not None
            with Box.open(home, clock=seeded_box.fixed_clock()) as box:
                seeded_box.add_run(
                    box, "01zzzzzzzzzrunning0000", state="running", project="houses", pid=owner.pid,
                    pid_started=owner.pid_started, boot_id=owner.boot_id, started_at=seeded_box.ago(minutes=2),
                )  # fmt: skip
            async with open_app(home, start="runs") as (app, driver):
                await driver.press("slash")
                await fill(driver, "state:running")
                await driver.press("X")
                assert "train of houses has run for 2m00s" in driver.shown()
                await fill(driver, "wrong data")
                await driver.press("y")
                assert "its process was told to stop" in said(app)
            assert process.wait(timeout=60) != 0
        finally:
            process.kill()
    run = reading(lambda box: box.runs.get("01zzzzzzzzzrunning0000"))
    assert (run.state, "wrong data" in run.error) == ("cancelled", True)


async def test_a_version_is_deleted_only_when_its_name_is_typed(
    open_app: Any, home: Path, reading: Any
) -> None:
    async with open_app(home, start="models") as (app, driver):
        await versions(driver, 2)
        await driver.press("D")
        assert "rollouts refer to it" in driver.shown()
        await driver.press("escape", "k", "D")
        assert "1 of its " in driver.shown()
        await fill(driver, "a twin", "houses@2")
        assert "type houses@3, exactly" in driver.shown()
        await driver.press("y")
        assert reading(lambda box: box.models.get("houses@3")).number == 3
        await driver.press(*["backspace"] * 9)
        await fill(driver, "houses@3")
        assert "houses@3 is gone" in said(app)
    with pytest.raises(NotFoundError, match="deleted it on 2026-03-14"):
        reading(lambda box: box.models.get("houses@3"))
    assert reading(lambda box: verify(box)).problems == ()


@pytest.mark.parametrize(
    ("view", "keys", "wanted"),
    [
        ("runs", ("T", "y"), ["train", "--project", "FOLDER"]),
        ("runs", ("R", "y"), ["train", "--project", "FOLDER", "--snapshot", "SNAPSHOT"]),
        ("alerts", ("R", "y"), ["decisions", "accept", acted_box.SUGGESTION]),
        ("alerts", ("M", "enter"), ["monitor", "houses"]),
        ("decisions", ("A", "y"), ["decisions", "accept", acted_box.SUGGESTION]),
        ("data", ("C", "enter"), ["check", "--project", "FOLDER"]),
        ("serving", ("U", "enter"), ["up", "--detach"]),
        (
            "models",
            ("enter", "E", "enter"),
            ["edge", "export", "houses@4", "--target", "TARGET", "--out", "FILE"],
        ),
    ],
)
async def test_what_takes_long_is_started_as_the_command_it_shows(
    open_app: Any,
    home: Path,
    reading: Any,
    commands: list[list[str]],
    view: str,
    keys: tuple[str, ...],
    wanted: list[str],
) -> None:
    folder = reading(lambda box: box.projects.get("houses").folder)
    snapshot = reading(lambda box: box.snapshots.list("houses", limit=1)[0].id)
    values = {"FOLDER": str(folder), "SNAPSHOT": snapshot, "TARGET": "linux-x86_64-cp311",
              "FILE": str(Path("houses-4.mbx").absolute())}  # fmt: skip
    async with open_app(home, start=view) as (app, driver):
        await driver.press(*keys)
        assert commands == [[values.get(word, word) for word in wanted]]
        assert app.performer.journal.entries[0].line.startswith(f"mlops-box {wanted[0]}")


async def test_how_a_started_command_ended_is_told_with_its_error(open_app: Any, home: Path) -> None:
    async with open_app(home) as (app, driver):
        started = start_command(app.box.home, app.box.clock, ["runs", "show", "nonsense"])
        entry = app.performer.journal.add(app.box.clock.now(), "line", "started")
        app.performer._started[entry.number] = started
        started.process.wait(timeout=120)
        await driver.tick()
        assert "exit code 2: error: no run 'nonsense'" in said(app)
        assert app.performer.journal.entries[0].outcome.startswith("exit code 2")


async def test_the_screen_goes_on_while_an_act_runs(
    open_app: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, end = threading.Event(), threading.Event()

    def slow(box: Box, row: Any, form: Any) -> Done:
        begun.set()
        assert end.wait(60)
        return Done("it is done at last")

    slow_act = replace(alert_acts.UNACKNOWLEDGE, run=slow, applies=lambda row: None)
    others = tuple(act for act in AlertsView.ACTS if act.id != slow_act.id)
    monkeypatch.setattr(AlertsView, "ACTS", (slow_act, *others))
    async with open_app(home, start="alerts") as (app, driver):
        await driver.pilot.press("U")
        await driver.settle()
        await driver.pilot.press("enter")
        deadline = time.monotonic() + 60
        while not begun.is_set() and time.monotonic() < deadline:
            await driver.pilot.pause(0.01)
        await driver.pilot.press("2")
        await driver.pilot.pause(0)
        assert app.main.place.view == "runs"
        end.set()
        await driver.settle()
        assert "it is done at last" in said(app)


async def test_hostile_names_in_questions_and_in_the_history_are_inert(open_app: Any, home: Path) -> None:
    with Box.open(home, clock=seeded_box.fixed_clock()) as box, box.db.write() as tx:
        tx.execute("UPDATE alerts SET title = ?", (HOSTILE,))
    async with open_app(home, start="alerts", size=(160, 40)) as (app, driver):
        await driver.press("A")
        seen = driver.shown()
        await fill(driver, "[red]known[/]")
        app.open_history()
        await driver.settle()
        seen += driver.shown()
        assert "[bold red]x[/]" in seen
        assert "[red]known[/]" in seen
        assert "\x1b" not in seen
        assert "\x07" not in seen


async def test_space_marks_and_d_compares_two(open_app: Any, home: Path) -> None:
    async with open_app(home, start="models") as (app, driver):
        await driver.press("d")
        assert "mark two rows with space first" in said(app)
        await versions(driver, 4)
        await driver.press("space", "space")
        assert "2 marked" in driver.shown()
        asked: list[tuple[str, str]] = []
        app.main.view.diff = lambda one, other: asked.append((one, other))
        await driver.press("d")
        assert asked == [("houses@4", "houses@3")]
        await driver.press("escape")
        assert "marked" not in driver.shown()


def test_the_home_is_named_unless_it_is_the_one_that_is_found_anyway(home: Path, tmp_path: Path) -> None:
    with Box.open(home, read_only=True) as box:
        assert home_arguments(box.home) == []
    with Box.open(tmp_path / "other") as box:
        assert home_arguments(box.home) == ["--home", str(tmp_path / "other")]
