"""AUC, F1 and macro F1 without ground truth: compared with what is realised where the probabilities can be believed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlops_box.evaluation.metrics import compute_metrics
from mlops_box.models.runtime import Output
from mlops_box.monitoring.cbpe import CalibrationMap, expected_auc, expected_f1
from mlops_box.monitoring.estimate import BLIND, Estimator, estimate_classifier, fit_classifier
from mlops_box.monitoring.values import EstimateFinding
from mlops_box.project import Task

Floats = np.ndarray[Any, Any]
CLASSES: dict[Task, tuple[int, ...]] = {"binary": (0, 1), "multiclass": (0, 1, 2)}


def answers(
    task: Task, rng: np.random.Generator, rows: int, *, sharp: float = 2.0, lean: float = 0.0
) -> tuple[Floats, Floats, Floats]:
    """(probability, label, truth): the truth falls with the true probabilities, and the stated ones are too sure.

    ``sharp`` says how easy the rows are, ``lean`` favours the last class: two ways in which a window may differ.
    """
    logits = rng.normal(0, sharp, (rows, len(CLASSES[task])))
    logits[:, -1] += lean
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    stated = np.exp(1.7 * logits) / np.exp(1.7 * logits).sum(axis=1, keepdims=True)
    truth = (rng.random((rows, 1)) > true.cumsum(axis=1)).sum(axis=1)
    return stated, stated.argmax(axis=1), np.minimum(truth, true.shape[1] - 1)


def realised(task: Task, probability: Floats, label: Floats, truth: Floats) -> dict[str, float]:
    output = Output(prediction=None, label=label, probability=probability)
    return compute_metrics(task, truth=truth, output=output, classes=CLASSES[task])


def estimator(task: Task, rng: np.random.Generator) -> Estimator:
    probability, label, truth = answers(task, rng, 3000)
    held_out = realised(task, probability, label, truth)
    found = fit_classifier(task, probability=probability, label=label, truth=truth, held_out=held_out)
    assert found is not None
    return found


@pytest.mark.parametrize(("task", "metrics"), [("binary", ("auc", "f1")), ("multiclass", ("macro_f1",))])
@pytest.mark.parametrize(("sharp", "lean"), [(2.0, 0.0), (1.0, 0.0), (2.0, -2.0)])
def test_what_is_realised_later_lies_within_the_interval_nineteen_of_twenty_times(
    task: Task, metrics: tuple[str, ...], sharp: float, lean: float
) -> None:
    rng = np.random.default_rng(4)
    held: dict[str, list[bool]] = {name: [] for name in ("accuracy", *metrics)}
    errors: dict[str, list[float]] = {name: [] for name in metrics}
    for _ in range(60):
        known = estimator(task, rng)
        window = answers(task, rng, 1000, sharp=sharp, lean=lean)
        real = realised(task, *window)
        found = estimate_classifier(known, window[0], window[1], min_rows=200)
        assert found.low is not None
        assert found.high is not None
        held["accuracy"].append(found.low <= real["accuracy"] <= found.high)
        for name in metrics:
            one = found.others[name]
            held[name].append(one.low <= real[name] <= one.high)
            errors[name].append(one.value - real[name])
    for name, hits in held.items():
        assert np.mean(hits) >= 0.85, name
    for name in metrics:
        assert abs(np.mean(errors[name])) < 0.02, "not to one side"


def test_a_window_that_is_harder_is_foreseen_better_than_by_the_held_out_metric() -> None:
    rng = np.random.default_rng(5)
    known = estimator("binary", rng)
    window = answers("binary", rng, 5000, sharp=0.7)
    real = realised("binary", *window)
    found = estimate_classifier(known, window[0], window[1], min_rows=200)
    for name in ("auc", "f1"):
        assert abs(found.others[name].value - real[name]) < abs(known.others[name] - real[name]) / 3


def test_concept_drift_is_invisible_to_it_and_it_says_so() -> None:
    rng = np.random.default_rng(6)
    known = estimator("binary", rng)
    probability, label, truth = answers("binary", rng, 2000)
    found = estimate_classifier(known, probability, label, min_rows=200)
    real = realised("binary", probability, label, 1 - truth)
    assert found.others["auc"].value > 0.8 > 0.3 > real["auc"]
    assert BLIND in found.text
    assert "auc" in found.text


def test_the_expected_auc_of_certain_rows_is_the_auc() -> None:
    """Probabilities of 0 and 1 leave no chance: ties, order and all are those of the metric itself."""
    rng = np.random.default_rng(7)
    score = rng.integers(0, 8, 400) / 8
    truth = rng.random(400) < score

    class Known(CalibrationMap):
        def __call__(self, probability: Floats) -> Floats:
            return truth.astype(float)

    exact = Known((0.0, 1.0), (0.0, 1.0), (10**9, 10**9))
    real = realised(
        "binary", np.column_stack([1 - score, score]), (score > 0.5).astype(int), truth.astype(int)
    )
    auc, f1 = expected_auc(exact, score), expected_f1(exact, score, score > 0.5)
    assert auc is not None
    assert f1 is not None
    assert auc.value == pytest.approx(real["auc"])
    assert f1.value == pytest.approx(real["f1"])
    assert auc.spread < 0.001


def test_where_one_class_hardly_occurs_there_is_no_auc() -> None:
    never = CalibrationMap((0.0, 1.0), (0.0, 0.0), (100, 100))
    assert expected_auc(never, np.linspace(0, 1, 500)) is None
    assert expected_f1(never, np.linspace(0, 1, 500), np.zeros(500, dtype=bool)) is None


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_estimator_and_finding_survive_being_stored(task: Task) -> None:
    rng = np.random.default_rng(8)
    known = estimator(task, rng)
    again = Estimator.from_json(known.to_json())
    assert again == known
    probability, label, _ = answers(task, rng, 500)
    found = estimate_classifier(again, probability, label, min_rows=200)
    assert EstimateFinding.from_dict(found.to_dict()) == found


def test_what_an_earlier_program_wrote_still_estimates_accuracy() -> None:
    import json

    rng = np.random.default_rng(9)
    raw = json.loads(estimator("binary", rng).to_json())
    old = {key: value for key, value in raw.items() if key not in ("classes", "others")} | {"format": 1}
    probability, label, _ = answers("binary", rng, 500)
    found = estimate_classifier(Estimator.from_json(json.dumps(old)), probability, label, min_rows=200)
    assert found.value is not None
    assert found.others == {}
