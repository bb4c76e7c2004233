"""Realised quality: an alarm needs a loss that is large and sure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlops_box.monitoring.quality import Answers, assess_quality
from mlops_box.monitoring.values import QualityFinding


def regression(
    rows: int, error: float, *, held_out: dict[str, float] | None = None, seed: int = 0, **more: Any
) -> QualityFinding:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=rows)
    answers = Answers(truth + rng.laplace(0, error, rows), None, None)
    options: dict[str, Any] = {
        "classes": None, "metric": "mae", "held_out": {"mae": 1.0} if held_out is None else held_out,
        "limit": 0.2, "rows": 2 * rows,
    }  # fmt: skip
    return assess_quality("regression", truth=truth, answers=answers, **(options | more))


def binary(rows: int, wrong: float, metric: str, held_out: float) -> QualityFinding:
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 2, rows)
    label = np.where(rng.random(rows) < wrong, 1 - truth, truth)
    second = np.where(label == 1, 0.9, 0.1)
    answers = Answers(None, label, np.column_stack([1 - second, second]))
    return assess_quality(
        "binary", truth=np.array(["no", "yes"], dtype=object)[truth], answers=answers, classes=("no", "yes"),
        metric=metric, held_out={metric: held_out}, limit=0.2, rows=rows,
    )  # fmt: skip


def test_a_clear_loss_alarms_with_its_interval() -> None:
    finding = regression(500, 1.5)
    assert finding.outcome == "loss"
    assert finding.loss_low is not None
    assert finding.loss is not None
    assert finding.loss_high is not None
    assert 0.2 < finding.loss_low < finding.loss < finding.loss_high < 0.8
    assert finding.coverage == 0.5
    assert QualityFinding.from_dict(finding.to_dict()) == finding


def test_five_rows_alarm_nobody_however_bad_they_are() -> None:
    finding = regression(5, 50.0)
    assert (finding.outcome, finding.rows_with_truth) == ("cannot_tell", 5)
    assert "30 rows" in finding.reason


def test_a_large_loss_that_may_be_chance_is_no_alarm() -> None:
    outcomes = [regression(40, 1.25, held_out_rows=40, seed=seed) for seed in range(30)]
    unsure = [
        item for item in outcomes if item.loss and item.loss > 0.2 and item.loss_low and item.loss_low <= 0
    ]
    assert unsure
    assert {item.outcome for item in unsure} == {"cannot_tell"}


def test_no_loss_hardly_ever_alarms() -> None:
    alarms = [regression(200, 1.0, held_out_rows=200, seed=seed).outcome == "loss" for seed in range(60)]
    assert np.mean(alarms) <= 0.05


@pytest.mark.parametrize("metric", ["accuracy", "auc", "brier", "log_loss", "f1"])
def test_metrics_of_both_directions_see_the_same_decay(metric: str) -> None:
    usual = binary(800, 0.05, metric, 1.0).realised
    assert usual is not None
    assert binary(800, 0.05, metric, usual).outcome == "fine"
    assert binary(800, 0.35, metric, usual).outcome == "loss"


@pytest.mark.parametrize(
    ("held_out", "said"), [({}, "has no mae"), ({"mae": 0.0}, "no meaning"), ({"rmse": 1.0}, "has no mae")]
)
def test_without_a_yardstick_nobody_can_tell(held_out: dict[str, float], said: str) -> None:
    finding = regression(500, 1.0, held_out=held_out)
    assert finding.outcome == "cannot_tell"
    assert said in finding.reason


def test_no_truth_is_never_fine() -> None:
    assert regression(0, 1.0).outcome == "cannot_tell"


def test_an_interval_is_the_same_each_time() -> None:
    assert regression(300, 1.3) == regression(300, 1.3)
