"""Charts: metrics over versions, calibration, the curve of a running training, drift over time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import seeded_box
from mlops_box_tui.look import Look
from mlops_box_tui.screens.metric_history import MetricHistoryScreen
from mlops_box_tui.screens.run import RunScreen
from mlops_box_tui.screens.version import VersionScreen
from mlops_box_tui.widgets.chart import Chart, ChartPane, Series, draw, legend

from mlops_box.box import Box
from mlops_box.canonical import canonical_json
from mlops_box.epochs import EpochPlan
from mlops_box.evaluation.calibration import reliability, residuals
from mlops_box.models.values import VersionDraft
from mlops_box.operations.views import model_history

RUNNING = "01aaaaaaaaaarunning0000"
HOSTILE = "[red]\x1b[31mnot red[/]"


def add_version(
    box: Box, like: str, *, metrics: dict[str, float], evaluation: Any = None, accepted: bool = True
) -> str:
    """One more version of a seeded model."""
    old = box.models.get(like)
    files = dict(old.files)
    if evaluation is not None:
        data = canonical_json({"format": 1, **evaluation}).encode()
        files["evaluation.json"] = box.objects.put_bytes(data, kind="evaluation")
    return box.models.register(
        VersionDraft(
            model=old.model, project=old.project, task=old.task, accepted=accepted, signature=old.signature,
            files=files, metrics=metrics, gates=old.gates, snapshot_id=old.snapshot_id, run_id=None, lineage={},
        )
    ).ref  # fmt: skip


# Metrics over versions.


async def test_m_draws_the_metrics_of_a_model_with_champion_rejected_versions_and_the_gates_limit(
    open_app: Any, home: Path
) -> None:
    async with open_app(home, start="models") as (app, driver):
        await driver.press("enter", "j", "m")
        assert isinstance(app.screen, MetricHistoryScreen)
        shown = driver.shown()
        for word in ("mae", "lower is better", "metric 1 of 3", "accepted", "✗✗ rejected", "◆◆ champion",
                     "gate of v4 70.00", "+21.40"):  # fmt: skip
            assert word in shown
        drawn = shown.splitlines()[4:-10]
        assert any("✗" in line for line in drawn)
        assert any("◆" in line for line in drawn)
        assert app.screen.query_one("ResourceTable").cursor_key == "3"
        await driver.press("right_square_bracket")
        assert "r2  higher is better  metric 2 of 3" in driver.shown()
        assert "gate of" not in driver.shown()
        await driver.press("m")
        assert "rmse  lower is better  metric 3 of 3" in driver.shown()
        await driver.press("left_square_bracket", "left_square_bracket", "enter")
        assert isinstance(app.screen, VersionScreen)
        assert app.screen.subject == "bike-rentals@3"
        await driver.press("m")
        assert isinstance(app.screen, MetricHistoryScreen)


async def test_a_version_that_comes_meanwhile_is_drawn(open_app: Any, home: Path) -> None:
    async with open_app(home, start="models") as (_app, driver):
        await driver.press("m")
        assert "v5" not in driver.shown()
        with Box.open(home, clock=seeded_box.fixed_clock()) as box:
            add_version(box, "bike-rentals@3", metrics={"mae": 38.0})
        await driver.tick()
        assert "v5" in driver.shown()


async def test_a_metric_that_a_version_lacks_is_unknown_and_no_zero(open_app: Any, home: Path) -> None:
    with Box.open(home, clock=seeded_box.fixed_clock()) as box:
        add_version(box, "bike-rentals@3", metrics={"mae": 38.0, HOSTILE: 1.0})
    async with open_app(home, start="models") as (_app, driver):
        await driver.press("m", "m")
        shown = driver.shown()
        assert "\x1b" not in shown
        while "rmse" not in driver.shown().splitlines()[1]:
            await driver.press("m")
        newest = next(line for line in driver.shown().splitlines() if line.startswith(" v5"))
        assert " ? " in newest


def test_only_the_newest_versions_are_read(home: Path) -> None:
    with Box.open(home, clock=seeded_box.fixed_clock()) as box:
        found = model_history(box, "bike-rentals", limit=3)
        assert found.versions == 4
        assert [metric.name for metric in found.metrics] == ["mae", "r2", "rmse"]
        mae = found.metrics[0]
        assert [(p.number, p.accepted, p.champion) for p in mae.points] == [
            (2, True, False), (3, True, True), (4, False, False),
        ]  # fmt: skip
        assert (mae.limit, mae.limit_of, mae.higher_is_better) == (70.0, 4, False)
        assert (found.metrics[1].limit, found.metrics[1].higher_is_better) == (None, True)


# Calibration.


async def test_a_classifier_shows_its_reliability_with_brier_score_and_ece(open_app: Any, home: Path) -> None:
    random = np.random.default_rng(0)
    probability = random.uniform(0.2, 1, 500)
    found = reliability(
        probability, random.uniform(size=500) < probability, event="its answer for digit is right"
    )
    with Box.open(home, clock=seeded_box.fixed_clock()) as box:
        add_version(box, "digits@1", metrics={"accuracy": 0.98}, evaluation={"reliability": found.to_dict()})
    async with open_app(home, start="models") as (app, driver):
        await driver.press("j", "enter", "enter")
        app.screen.open_tab("calibration")
        await driver.settle()
        shown = driver.shown()
        for word in ("predicted: its answer for digit is right", f"Brier score {found.brier:.4f}",
                     f"expected calibration error {found.ece:.4f}", "as said", "observed", "difference"):  # fmt: skip
            assert word in shown
        assert sum(one.rows for one in found.bins) == 500
        table = shown[shown.index("difference") :]
        for one in found.bins:
            assert f"{one.said:.4f}" in table
            assert f"{one.seen:.4f}" in table


async def test_a_regression_shows_its_errors_by_predicted_value(open_app: Any, home: Path) -> None:
    random = np.random.default_rng(0)
    truth = random.uniform(100, 500, 400)
    found = residuals(truth, truth + random.normal(0, 20, 400), target="cnt")
    with Box.open(home, clock=seeded_box.fixed_clock()) as box:
        ref = add_version(
            box, "bike-rentals@3", metrics={"mae": 40.0}, evaluation={"residuals": found.to_dict()}
        )
    async with open_app(home, start="models", size=(120, 44)) as (app, driver):
        app.push_screen(VersionScreen(ref))
        await driver.settle()
        app.screen.open_tab("calibration")
        await driver.settle()
        shown = driver.shown()
        for word in ("mean error", "middle 90%", "median", "true minus predicted", "by predicted cnt"):
            assert word in shown
        assert f"{found.bins[0].said:.1f}" in shown


async def test_a_version_from_before_the_record_says_so_and_draws_nothing(open_app: Any, home: Path) -> None:
    with Box.open(home, clock=seeded_box.fixed_clock()) as box:
        ref = add_version(
            box, "digits@1", metrics={"accuracy": 0.9}, evaluation={"metrics": {"accuracy": 0.9}}
        )
    async with open_app(home, start="models") as (app, driver):
        app.push_screen(VersionScreen(ref))
        await driver.settle()
        app.screen.open_tab("calibration")
        await driver.settle()
        assert "not recorded: this version was trained before calibration was kept" in driver.shown()
        assert not list(app.screen.query("#tab-calibration ChartPane"))


# A running training.


async def test_the_curve_of_a_running_training_grows_with_what_is_left(open_app: Any, home: Path) -> None:
    async with open_app(home, start="runs") as (app, driver):
        assert "epoch 24 of at most 40, 5.0s each, at most 1m18s left" in driver.shown()
        await driver.press("enter", "right_square_bracket")
        assert isinstance(app.screen, RunScreen)
        assert "left at most 1m18s" in driver.shown().splitlines()[1]
        chart = app.screen.query_one("#tab-metrics ChartPane ").query_one("_Canvas")
        before = chart.drawn[0].series[0].xs[-1]
        with Box.open(home, clock=seeded_box.fixed_clock()) as box:
            box.runs.point(RUNNING, 25, {"train_loss": 0.2, "validation_loss": 0.3})
        await driver.tick()
        assert "epoch 25 of at most 40" in driver.shown()
        assert (before, chart.drawn[0].series[0].xs[-1]) == (24.0, 25.0)


async def test_what_is_left_counts_down_between_epochs(open_app: Any, home: Path) -> None:
    async with open_app(home, start="runs") as (app, driver):
        await driver.press("enter")
        app.box.clock.advance(timedelta(seconds=1))
        await driver.tick()
        assert "left at most 1m17s" in driver.shown()


async def test_what_is_left_is_unknown_before_the_first_epoch_of_a_resumed_training(
    open_app: Any, home: Path
) -> None:
    with Box.open(home, clock=seeded_box.fixed_clock()) as box:
        seeded_box.add_run(
            box, "01resumed", state="running", project="waves", started_at=seeded_box.ago(minutes=1)
        )
        for epoch in range(1, 6):
            box.runs.point("01resumed", epoch, {"train_loss": 1 / epoch}, replayed=True)
        box.epochs.begin("01resumed", EpochPlan(9, may_stop=False, resumed_after=5))
    async with open_app(home, start="runs") as (app, driver):
        app.push_screen(RunScreen("01resumed"))
        await driver.settle()
        app.screen.open_tab("metrics")
        await driver.settle()
        assert "left ?" in driver.shown().splitlines()[1]
        assert "epoch 5 of 9, 5 of them before it was interrupted, time left ?" in driver.shown()


async def test_a_training_whose_process_is_gone_promises_nothing(open_app: Any, home: Path) -> None:
    with Box.open(home) as box, box.db.write() as tx:
        tx.execute("UPDATE runs SET pid_started = 1 WHERE id = ?", (RUNNING,))
    async with open_app(home, start="runs") as (app, driver):
        await driver.press("enter", "right_square_bracket")
        assert isinstance(app.screen, RunScreen)
        shown = driver.shown()
        assert "owner gone" in shown
        assert "epoch 24 of at most 40" in shown
        assert "left" not in shown


# Drift over time.


async def test_the_history_of_a_feature_names_times_limit_and_that_it_is_uncalibrated(
    open_app: Any, home: Path
) -> None:
    async with open_app(home, start="drift", size=(80, 24)) as (_app, driver):
        await driver.press("enter", "right_square_bracket")
        shown = driver.shown()
        for word in ("uncalibrated: another hour or season", "KS distance", "✗✗ drift", "limit 0.1000",
                     "03-14 06:00", "09:00", "12:00"):  # fmt: skip
            assert word in shown


async def test_the_heat_map_says_from_when_to_when_it_reaches(open_app: Any, home: Path) -> None:
    async with open_app(home, start="drift", size=(80, 24), ascii_only=True) as (_app, driver):
        await driver.press("h")
        head = driver.shown().splitlines()[1]
        assert "03-14 06:00 > 18:00" in head
        assert "? cannot tell" in head


# Looks.


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_every_chart_fits_and_is_ascii_where_that_is_asked_for(
    size: tuple[int, int], open_app: Any, home: Path
) -> None:
    async with open_app(home, start="models", size=size, ascii_only=True) as (app, driver):
        await driver.press("m")
        shown = [driver.shown()]
        await driver.press("escape")
        app.push_screen(RunScreen(RUNNING))
        await driver.settle()
        app.screen.open_tab("metrics")
        await driver.settle()
        shown.append(driver.shown())
    for text in shown:
        assert text.isascii()
        assert "|" in text
        assert "+-" in text
        bottom = [line for line in text.splitlines() if line.strip().startswith("+") and line.count("-") > 20]
        assert len(bottom) == 2, text
    assert "o" in shown[1]


def look(*, ascii_only: bool = False) -> Look:
    return Look({"busy": "#57a5e2", "bad": "#d17e92", "quiet": "dim"}, ascii_only, seeded_box.NOW)


def chart() -> Chart:
    one, two = [1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]
    return Chart("loss", [Series("train", one, two), Series("test", one, one)], threshold=(2.5, "limit"))


def test_the_legend_stands_above_the_curves_never_on_them() -> None:
    drawn = draw(chart(), 60, 12, look()).plain
    for word in ("train", "test", "limit", "loss"):
        assert word not in drawn
        assert word in legend(chart(), look()).plain


def test_without_colours_curves_have_characters_of_their_own() -> None:
    plain = draw(chart(), 60, 12, look(), plain=True).plain
    assert "•" in plain
    assert any("\u2800" < letter < "\u28ff" for letter in plain)
    ascii_drawn = draw(chart(), 60, 12, look(ascii_only=True)).plain
    assert ascii_drawn.isascii()
    assert "*" in ascii_drawn
    assert "o" in ascii_drawn


@pytest.mark.parametrize(
    "series",
    [
        [Series("one", [1.0], [2.0])],
        [Series("flat", [1.0, 2.0], [0.0, 0.0])],
        [Series("gaps", [1.0, 2.0, 3.0], [1.0, float("nan"), float("inf")])],
        [Series("none", [], [])],
        [Series("large", [0.0, 1.0], [-1e300, 1e300])],
        [Series("small", [0.0, 1e-9], [1e-12, 2e-12])],
    ],
    ids=lambda series: series[0].name,
)
@pytest.mark.parametrize("axis", ["number", "count", "time"])
def test_whatever_the_points_are_a_chart_is_drawn_or_left_empty(series: list[Series], axis: Any) -> None:
    for width, height in ((100, 16), (30, 6), (5, 2), (0, 0)):
        text = draw(Chart("t", series, axis=axis), width, height, look()).plain
        assert all(len(line) <= width for line in text.splitlines())


def test_a_hostile_name_draws_no_colour_of_its_own() -> None:
    held = Chart(HOSTILE, [Series(HOSTILE, [1.0], [1.0]), Series("b", [1.0], [2.0])])
    assert "\x1b" not in legend(held, look()).plain
    assert HOSTILE not in draw(held, 60, 12, look()).plain


async def test_a_chart_is_drawn_again_in_the_colours_of_another_theme(open_app: Any, home: Path) -> None:
    async with open_app(home, start="models") as (app, driver):
        await driver.press("m")
        pane = app.screen.query_one(ChartPane)
        before = pane.query_one("_Canvas").drawn[1]
        app.choose_theme("light")
        await driver.settle()
        assert pane.query_one("_Canvas").drawn[1] != before
