"""What a person does in the terminal, key by key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import seeded_box
from mlops_box_tui.screens.alert import AlertScreen
from mlops_box_tui.screens.batch import BatchScreen
from mlops_box_tui.screens.decision import DecisionScreen
from mlops_box_tui.screens.feature import FeatureScreen
from mlops_box_tui.screens.help import HelpScreen
from mlops_box_tui.screens.logs import LogScreen
from mlops_box_tui.screens.run import RunScreen
from mlops_box_tui.screens.version import VersionScreen
from textual.widgets import Log

from mlops_box.box import Box
from mlops_box.errors import IntegrityError
from mlops_box.operations.views import ServingStatus
from mlops_box.run_log import RunLog

VIEWS = ["home", "runs", "models", "serving", "drift", "alerts", "decisions", "data", "features", "devices"]


async def test_digits_open_every_view_and_the_bar_shows_which(open_app: Any, home: Path) -> None:
    async with open_app(home) as (app, driver):
        for digit, name in enumerate(VIEWS, start=1):
            await driver.press(str(digit % 10))
            assert app.main.place.view == name
            if name == "data":
                assert "hum.max" in driver.shown()


async def test_home_shows_pulses_and_enter_opens_a_panel(open_app: Any, home: Path) -> None:
    async with open_app(home) as (app, driver):
        shown = driver.shown()
        for word in (
            "7 ok",
            "1 rejected",
            "bike-rentals  v3",
            "not started",
            "mae is 34% worse",
            "monitored 4m ago",
        ):
            assert word in shown
        await driver.press("j", "j", "j", "enter")
        assert app.main.place.view == "alerts"


async def test_a_run_opens_with_its_steps_curve_and_error(open_app: Any, home: Path) -> None:
    async with open_app(home, start="runs") as (app, driver):
        await driver.press("enter")
        assert isinstance(app.screen, RunScreen)
        assert "load snapshot" in driver.shown()
        await driver.press("right_square_bracket")
        assert "validation_loss" in driver.shown()
        assert "0.3959" in driver.shown()
        await driver.press("right_square_bracket", "right_square_bracket")
        assert "0.0800" in driver.shown()
        await driver.press("escape", "j", "j", "enter")
        assert "mae 63.1 is worse than 41.7" in driver.shown()


async def test_a_model_leads_to_its_versions_and_a_version_to_its_gates(open_app: Any, home: Path) -> None:
    async with open_app(home, start="models") as (app, driver):
        await driver.press("enter")
        assert "models › bike-rentals" in driver.shown()
        assert "last_good" in driver.shown()
        await driver.press("enter")
        assert isinstance(app.screen, VersionScreen)
        await driver.press("right_square_bracket")
        assert "worse than the champion" in driver.shown()
        for word in ("not recorded", "weathersit", "scikit-learn", "card.html"):
            await driver.press("right_square_bracket")
            assert word in driver.shown()
        await driver.press("escape")
        assert app.main.place.view == "versions"
        await driver.press("escape")
        assert app.main.place.view == "models"


async def test_a_version_is_compared_with_the_champion(open_app: Any, home: Path) -> None:
    async with open_app(home, start="models") as (_, driver):
        await driver.press("enter", "enter")
        shown = driver.shown()
        assert "champion v3" in shown
        assert "+21.40" in shown


async def test_an_alert_shows_the_evidence_per_feature_and_leads_to_what_caused_it(
    open_app: Any, home: Path
) -> None:
    async with open_app(home, start="alerts") as (app, driver):
        await driver.press("j", "enter")
        assert isinstance(app.screen, AlertScreen)
        shown = driver.shown()
        for word in ("temp", "ks 0.3400 (limit 0.1000)", "0.3740", "3%: hail", "55.88"):
            assert word in shown
        await driver.press("left_square_bracket", "enter")
        assert isinstance(app.screen, DecisionScreen)
        assert "the cooldown of 12h was over" in driver.shown()
        await driver.press("escape", "escape")
        assert app.main.place.view == "alerts"


async def test_drift_shows_reference_against_now_and_the_history_of_a_feature(
    open_app: Any, home: Path
) -> None:
    async with open_app(home, start="drift") as (app, driver):
        shown = driver.shown()
        assert "✗ drift" in shown
        assert "? cannot tell" in shown
        assert "██" in shown
        await driver.press("enter")
        assert isinstance(app.screen, FeatureScreen)
        assert "< 1e-12" in driver.shown()
        await driver.press("right_square_bracket")
        assert "temp by window (UTC)" in driver.shown()
        await driver.press("left_square_bracket", "left_square_bracket")
        shown = driver.shown()
        assert "what an alert triggered: train, done" in shown
        assert "came of the decision to train" in shown


async def test_a_refused_batch_names_its_rule(open_app: Any, home: Path) -> None:
    async with open_app(home, start="data") as (app, driver):
        await driver.press("j", "enter")
        assert isinstance(app.screen, BatchScreen)
        assert "42.2% bad rows, at most 1%" in driver.shown()


async def test_a_decision_tells_why(open_app: Any, home: Path) -> None:
    async with open_app(home, start="decisions") as (_, driver):
        await driver.press("enter", "right_square_bracket")
        assert "cooldown_s" in driver.shown()


async def test_serving_says_down_and_what_to_type(open_app: Any, home: Path) -> None:
    async with open_app(home, start="serving") as (_, driver):
        assert "The inference server is down" in driver.shown()
        assert "mlops-box up --detach" in driver.shown()


async def test_what_the_server_said_meanwhile_is_shown_at_once(open_app: Any, home: Path) -> None:
    async with open_app(home, start="serving") as (app, driver):
        await driver.press("2")
        app._heard(ServingStatus("unready", "127.0.0.1", 8000, None, "loading churn"))
        await driver.press("4")
        assert "The inference server is not ready (loading churn)" in driver.shown()


@pytest.mark.parametrize("view", VIEWS[1:])
async def test_an_empty_view_says_what_to_type(open_app: Any, empty_home: Path, view: str) -> None:
    async with open_app(empty_home, start=view) as (_, driver):
        assert "$ mlops-box" in driver.shown()


async def test_a_filter_narrows_as_one_types_and_escape_clears_it(open_app: Any, home: Path) -> None:
    async with open_app(home, start="runs") as (app, driver):
        await driver.press("slash")
        await driver.type("state:fail")
        assert "1 of 11" in driver.shown()
        assert app.main.view.table.row_count == 1
        await driver.press("enter")
        assert not app.main.prompt.display
        await driver.press("escape")
        assert app.main.view.table.row_count == 11


async def test_an_inverse_filter_and_problems_only(open_app: Any, home: Path) -> None:
    async with open_app(home, start="runs") as (app, driver):
        await driver.press("slash")
        await driver.type("!monitor")
        await driver.press("enter")
        assert app.main.view.table.row_count == 5
        await driver.press("exclamation_mark")
        assert app.main.view.table.row_count == 3
        assert "problems only" in driver.shown()


async def test_a_wrong_filter_field_is_named_and_the_rows_stay(open_app: Any, home: Path) -> None:
    async with open_app(home, start="runs") as (app, driver):
        await driver.press("colon")
        await driver.type("runs stat:failed")
        await driver.press("enter")
        assert "did you mean 'state'?" in driver.shown()
        assert app.main.view.table.row_count > 0


async def test_commands_go_to_views_filters_models_and_single_things(open_app: Any, home: Path) -> None:
    async with open_app(home) as (app, driver):
        await driver.press("colon")
        await driver.type("runs failed")
        await driver.press("enter")
        assert app.main.place.view == "runs"
        assert app.main.view.question.text == "state:failed"
        await driver.press("colon")
        await driver.type("model bike-rentals")
        await driver.press("enter")
        assert app.main.place.scope == "bike-rentals"
        await driver.press("colon")
        await driver.type("run 01aaaaaaaaaafailed")
        await driver.press("enter")
        assert isinstance(app.screen, RunScreen)
        assert "torque" in driver.shown()


async def test_tab_completes_a_command_and_an_unknown_one_is_refused(open_app: Any, home: Path) -> None:
    async with open_app(home) as (app, driver):
        await driver.press("colon")
        await driver.type("deci")
        await driver.press("tab", "enter")
        assert app.main.place.view == "decisions"
        await driver.press("colon")
        await driver.type("nonsense")
        await driver.press("enter")
        assert any("no command :nonsense" in note.message for note in app._notifications)


async def test_question_mark_lists_the_keys_of_this_screen(open_app: Any, home: Path) -> None:
    async with open_app(home, start="runs") as (app, driver):
        await driver.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        assert "Only rows that want attention" in driver.shown()
        await driver.press("escape", "enter", "question_mark")
        assert "The next tab" in driver.shown()


async def test_the_palette_offers_the_views(open_app: Any, home: Path) -> None:
    async with open_app(home) as (app, driver):
        await driver.press("ctrl+p")
        await driver.type("drift")
        await driver.pilot.pause(0.3)
        await driver.press("enter")
        await driver.pilot.pause(0.2)
        await driver.settle()
        assert app.main.place.view == "drift"


async def test_q_quits_at_the_top_and_goes_back_elsewhere(open_app: Any, home: Path) -> None:
    async with open_app(home, start="models") as (app, driver):
        await driver.press("enter", "q")
        assert app.main.place.view == "models"
        assert app.is_running
        await driver.pilot.press("q")
        await driver.pilot.pause()
        assert not app.is_running


async def test_minus_returns_to_the_view_before(open_app: Any, home: Path) -> None:
    async with open_app(home, start="runs") as (app, driver):
        await driver.press("6", "minus")
        assert app.main.place.view == "runs"
        await driver.press("minus")
        assert app.main.place.view == "alerts"


async def test_a_new_run_appears_at_the_top_and_the_cursor_stays_on_its_row(
    open_app: Any, home: Path
) -> None:
    async with open_app(home, start="runs") as (app, driver):
        await driver.press("j", "j", "j")
        table = app.main.view.table
        key = table.cursor_key
        with Box.open(home, clock=seeded_box.fixed_clock()) as writer:
            seeded_box.add_run(writer, "01aaaaaaaaaanewcomer000", started_at=seeded_box.ago(minutes=1))
        await driver.tick()
        assert table.ordered_rows[0].key.value == "01aaaaaaaaaanewcomer000"
        assert table.cursor_key == key
        assert table.cursor_row == 4


async def test_a_changed_run_changes_in_place(open_app: Any, home: Path) -> None:
    async with open_app(home, start="runs") as (_, driver):
        with Box.open(home, clock=seeded_box.fixed_clock()) as writer:
            writer.runs.end("01aaaaaaaaaarunning0000", "failed", error="the loss is not a number")
        await driver.tick()
        assert "the loss is not a number" in driver.shown()


async def test_pause_stops_reading_and_says_so(open_app: Any, home: Path) -> None:
    async with open_app(home, start="runs") as (app, driver):
        await driver.press("p")
        assert "paused" in driver.shown()
        with Box.open(home, clock=seeded_box.fixed_clock()) as writer:
            seeded_box.add_run(writer, "01aaaaaaaaaanewcomer000", started_at=seeded_box.ago(minutes=1))
        await driver.tick()
        assert app.main.view.table.row_count == 11
        await driver.press("r")
        assert app.main.view.table.row_count == 12
        await driver.press("p")
        assert "live" in driver.shown()


async def test_nothing_is_read_again_while_nothing_was_committed(open_app: Any, home: Path) -> None:
    async with open_app(home, start="runs") as (app, driver):
        before = app.main.view.page
        await driver.tick()
        assert app.main.view.page is before


async def test_sorting_puts_the_longest_run_first(open_app: Any, home: Path) -> None:
    async with open_app(home, start="runs") as (app, driver):
        names = [column.key for column in app.main.view.COLUMNS if column.sortable]
        await driver.press(*["s"] * (2 * names.index("took") + 1))
        assert app.main.view.question.sort == "took"
        assert app.main.view.table.ordered_rows[0].key.value.startswith("01aaaaaaaaaarunning")
        assert "took ▾" in driver.shown()


async def test_pages_of_500_rows(open_app: Any, empty_home: Path) -> None:
    with Box.open(empty_home, clock=seeded_box.fixed_clock()) as writer, writer.db.write():
        for place in range(620):
            seeded_box.add_run(writer, f"01many{place:016d}", started_at=seeded_box.ago(minutes=place))
    async with open_app(empty_home, start="runs") as (app, driver):
        assert app.main.view.table.row_count == 500
        assert "rows 1-500" in driver.shown()
        await driver.press("greater_than_sign")
        assert app.main.view.table.row_count == 120
        await driver.press("greater_than_sign", "less_than_sign")
        assert app.main.view.table.row_count == 500


async def test_a_run_whose_owner_is_gone_is_not_called_running(open_app: Any, home: Path) -> None:
    with Box.open(home, clock=seeded_box.fixed_clock()) as writer, writer.db.write() as tx:
        tx.execute("UPDATE runs SET boot_id = 'another' WHERE state = 'running'")
    async with open_app(home, start="runs") as (_, driver):
        assert "owner gone" in driver.shown()


async def test_logs_are_followed(open_app: Any, home: Path) -> None:
    log = home / "logs" / "server.log"
    log.write_text("first line\n")
    async with open_app(home, start="serving") as (app, driver):
        await driver.press("t")
        assert isinstance(app.screen, LogScreen)
        assert "first line" in driver.shown()
        with log.open("a") as file:
            file.write("\x1b[31msecond\x1b[0m line\nhalf a li")
        await driver.tick()
        lines = list(app.screen.query_one(Log).lines)
        assert lines[:2] == ["first line", "�[31msecond�[0m line"]
        assert len([line for line in lines if line]) == 2


async def test_a_box_that_cannot_be_read_any_more_is_said_and_the_rows_stay(
    open_app: Any, home: Path
) -> None:
    async with open_app(home, start="runs") as (app, driver):

        def fetch(box: Box, query: Any) -> Any:
            raise IntegrityError("box.db is damaged: malformed", hint="restore it from a backup")

        app.main.view.fetch = fetch
        await driver.press("r")
        assert "cannot read" in driver.shown()
        await driver.tick()
        assert "cannot read" in driver.shown()
        assert any("box.db is damaged" in note.message for note in app._notifications)
        assert app.main.view.table.row_count == 11


async def test_a_click_on_the_bar_and_on_a_header(open_app: Any, home: Path) -> None:
    async with open_app(home) as (app, driver):
        await driver.pilot.click("#views", offset=(14, 0))
        await driver.settle()
        assert app.main.place.view == "runs"
        await driver.pilot.click("ResourceTable", offset=(2, 0))
        await driver.settle()
        assert app.main.view.question.sort == "kind"


async def test_a_command_typed_in_one_go_loses_no_letter(open_app: Any, home: Path) -> None:
    async with open_app(home, start="runs") as (app, driver):
        for key in ("colon", *"alerts", "enter"):
            driver.send(key)
        await driver.settle()
        await driver.settle()
        assert app.main.place.view == "alerts"


async def test_a_runs_log_is_followed_and_inert(open_app: Any, home: Path) -> None:
    with Box.open(home) as box:
        run = box.runs.list(limit=1)[0]
        log = RunLog(box.home, run.id, box.clock)
    log.write("fit: begins")
    async with open_app(home, start="runs") as (_, driver):
        await driver.press("enter", "right_square_bracket", "right_square_bracket")
        assert "fit: begins" in driver.shown()
        log.write("[bold]odd[/] \x1b]0;owned\x07", level="error")
        await driver.press("ctrl+r")
        shown = driver.shown()
        assert "[bold]odd[/]" in shown
        assert "\x1b" not in shown
