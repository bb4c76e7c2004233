"""Metrics against values worked out by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mlops_box.evaluation.metrics import (
    DEFAULT_METRIC,
    HIGHER_IS_BETTER,
    METRICS,
    better_by,
    class_index,
    compute_metrics,
    unknown_metric,
)


@dataclass(frozen=True)
class Answered:
    prediction: Any = None
    label: Any = None
    probability: Any = None


def test_regression_metrics_match_hand_computed_values() -> None:
    found = compute_metrics(
        "regression", truth=np.array([1.0, 2.0, 4.0]), output=Answered(prediction=np.array([2.0, 2.0, 2.0]))
    )
    assert found["mae"] == pytest.approx(1.0)
    assert found["rmse"] == pytest.approx(math.sqrt(5 / 3))
    # 1 - (1 + 0 + 4) / (sum of squares around 7/3 = 14/3)
    assert found["r2"] == pytest.approx(1 - 5 / (14 / 3))
    assert found["mape"] == pytest.approx((1 / 1 + 0 + 2 / 4) / 3)


def test_what_the_rows_cannot_tell_is_absent_and_not_zero() -> None:
    constant = compute_metrics(
        "regression", truth=np.array([0.0, 0.0]), output=Answered(prediction=np.array([1.0, 2.0]))
    )
    assert set(constant) == {"mae", "rmse"}
    one_class = compute_metrics(
        "binary",
        truth=np.array([0, 0]),
        output=Answered(label=np.array([0, 1]), probability=np.array([[0.9, 0.1], [0.4, 0.6]])),
        classes=(0, 1),
    )
    assert "auc" not in one_class
    assert "average_precision" not in one_class
    assert one_class["accuracy"] == 0.5
    assert compute_metrics("regression", truth=np.array([]), output=Answered(prediction=np.array([]))) == {}


def test_binary_metrics_match_hand_computed_values() -> None:
    probability = np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])
    found = compute_metrics(
        "binary",
        truth=np.array(["no", "no", "yes", "yes"]),
        output=Answered(label=np.array([0, 0, 0, 1]), probability=probability),
        classes=("no", "yes"),
    )
    assert found["auc"] == pytest.approx(0.75)
    assert found["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert found["accuracy"] == 0.75
    assert found["precision"] == 1.0
    assert found["recall"] == 0.5
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["brier"] == pytest.approx((0.01 + 0.16 + 0.65**2 + 0.04) / 4)
    expected = -(math.log(0.9) + math.log(0.6) + math.log(0.35) + math.log(0.8)) / 4
    assert found["log_loss"] == pytest.approx(expected)


def test_a_class_the_model_never_saw_counts_as_wrong_and_does_not_crash() -> None:
    found = compute_metrics(
        "multiclass",
        truth=np.array(["a", "b", "new"]),
        output=Answered(
            label=np.array([0, 1, 1]), probability=np.array([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]])
        ),
        classes=("a", "b"),
    )
    assert found["accuracy"] == pytest.approx(2 / 3)
    # f1 of a: 1, of b: precision 1/2, recall 1 -> 2/3, of the unseen class: 0.
    assert found["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert found["log_loss"] == pytest.approx(
        -(math.log(0.8) + math.log(0.5) + math.log(np.finfo(np.float32).eps)) / 3
    )


def test_log_loss_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import log_loss

    random = np.random.default_rng(3)
    probability = random.dirichlet([1, 1, 1], size=200)
    truth = random.integers(0, 3, size=200)
    found = compute_metrics(
        "multiclass",
        truth=truth,
        output=Answered(label=probability.argmax(axis=1), probability=probability),
        classes=(0, 1, 2),
    )
    assert found["log_loss"] == pytest.approx(log_loss(truth, probability, labels=[0, 1, 2]))


def test_truth_may_come_as_text_float_or_bool_and_means_the_same_class() -> None:
    assert class_index(np.array(["1", "3", "9"]), (1, 3)).tolist() == [0, 1, -1]
    assert class_index(np.array([1.0, 3.0]), (1, 3)).tolist() == [0, 1]
    assert class_index(np.array(["true", "false"]), (False, True)).tolist() == [1, 0]
    assert class_index(np.array([True, False]), (False, True)).tolist() == [1, 0]


def test_every_metric_has_a_direction_and_every_task_a_default() -> None:
    for task, names in METRICS.items():
        assert DEFAULT_METRIC[task] in names
    assert {name for names in METRICS.values() for name in names} >= HIGHER_IS_BETTER
    assert better_by("mae", 1.0, 3.0) == 2.0
    assert better_by("auc", 0.7, 0.9) == pytest.approx(-0.2)


def test_a_misspelt_metric_gets_the_nearest_name() -> None:
    assert unknown_metric("mae", "regression") is None
    assert "did you mean 'rmse'" in (unknown_metric("rsme", "regression") or "")
    assert "auc" in (unknown_metric("mae", "binary") or "")
