"""Quality without ground truth: near the truth where the world keeps its relations, and blind where it says it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_box.errors import IntegrityError
from mlops_box.monitoring.estimate import (
    BLIND,
    Estimator,
    estimate_classifier,
    estimate_regression,
    fit_classifier,
    fit_regression,
)

Floats = np.ndarray[Any, Any]


def votes(rng: np.random.Generator, rows: int, *, hard: float = 0.0) -> tuple[Floats, Floats]:
    """(stated probability, right): the model is overconfident; ``hard`` moves rows towards the boundary."""
    stated = 0.5 + 0.5 * rng.beta(4, 1 + 6 * hard, rows)
    return stated, rng.random(rows) < 0.5 + 0.8 * (stated - 0.5)


def binary(second: Floats) -> Floats:
    return np.column_stack([1 - second, second])


def ones(rows: Floats) -> Floats:
    return np.ones(len(rows), dtype=int)


def test_the_accuracy_of_overconfident_answers_is_told_within_its_interval() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(60):
        stated, right = votes(rng, 2000)
        estimator = fit_classifier(
            "binary", probability=binary(stated), label=ones(stated), truth=right.astype(int), held_out={}
        )
        assert estimator is not None
        window, truth = votes(rng, 500, hard=1.0)
        found = estimate_classifier(estimator, binary(window), ones(window), min_rows=200)
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        held.append(found.low <= truth.mean() <= found.high)
        # Taking the held-out accuracy for granted would be far off.
        assert abs(found.value - truth.mean()) < abs(estimator.held_out - truth.mean())
    assert np.mean(held) >= 0.85


def noisy(rng: np.random.Generator, rows: int, *, level: float = 0.0) -> tuple[Floats, Floats]:
    """(inputs, error): the error grows with the first input."""
    inputs = rng.normal(level, 1, (rows, 3)).astype(np.float32)
    return inputs, rng.normal(size=rows) * np.exp(inputs[:, 0] / 2)


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_errors_that_grow_are_foreseen(metric: str) -> None:
    rng = np.random.default_rng(1)
    inputs, error = noisy(rng, 4000)
    estimator = fit_regression(inputs=inputs, error=error, metric=metric, seed=0)
    assert estimator is not None
    assert estimator.metric == metric
    window, later = noisy(rng, 1000, level=1.0)
    found = estimate_regression(estimator, window, min_rows=200)
    real = np.abs(later).mean() if metric == "mae" else np.sqrt((later**2).mean())
    assert found.value is not None
    assert abs(found.value - real) < 0.5 * abs(estimator.held_out - real)
    assert BLIND in found.text
    again = Estimator.from_json(estimator.to_json())
    assert again == estimator
    assert estimate_regression(again, window, min_rows=200) == found


@given(seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_the_stored_tree_says_what_scikit_learns_tree_says(seed: int) -> None:
    from sklearn.tree import DecisionTreeRegressor

    rng = np.random.default_rng(seed)
    inputs, error = noisy(rng, 400)
    estimator = fit_regression(inputs=inputs, error=error, metric="mae", seed=0)
    assert estimator is not None
    assert estimator.tree is not None
    model = DecisionTreeRegressor(max_leaf_nodes=24, min_samples_leaf=20, random_state=0).fit(
        inputs, np.abs(error)
    )
    window = rng.normal(size=(300, 3)).astype(np.float32) * 2
    assert np.asarray(estimator.tree.mae)[estimator.tree.leaves(window)] == pytest.approx(
        model.predict(window)
    )


def test_missing_values_have_a_place_and_too_few_rows_have_no_estimate() -> None:
    rng = np.random.default_rng(2)
    inputs, error = noisy(rng, 500)
    inputs[::7, 1] = np.nan
    estimator = fit_regression(inputs=inputs, error=error, metric="mae", seed=0)
    assert estimator is not None
    assert estimate_regression(estimator, inputs, min_rows=200).value is not None
    few = estimate_regression(estimator, inputs[:10], min_rows=200)
    assert few.value is None
    assert "10 rows, 200 are needed" in few.text
    assert fit_regression(inputs=inputs[:99], error=error[:99], metric="mae", seed=0) is None


def test_what_is_no_estimator_is_refused() -> None:
    with pytest.raises(IntegrityError, match="no estimator"):
        Estimator.from_json("{}")
