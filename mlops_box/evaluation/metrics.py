"""The metrics of each task, computed from what the exported model answers.

A metric that the rows cannot tell (AUC where only one class occurs, R² of a constant) is absent, never zero: gates
then say "cannot be judged".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from mlops_box.models.encode import category_text
from mlops_box.project import Task

METRICS: dict[Task, tuple[str, ...]] = {
    "regression": ("mae", "rmse", "r2", "mape"),
    "binary": ("auc", "average_precision", "log_loss", "brier", "accuracy", "f1", "precision", "recall"),
    "multiclass": ("accuracy", "macro_f1", "log_loss"),
}
HIGHER_IS_BETTER = frozenset(
    {"r2", "auc", "average_precision", "accuracy", "f1", "macro_f1", "precision", "recall"}
)
# The metric that stands for a task where nobody named one.
DEFAULT_METRIC: dict[Task, str] = {"regression": "mae", "binary": "log_loss", "multiclass": "log_loss"}

# Probabilities are float32: what is closer to 0 than this is taken for this (scikit-learn's rule for log loss).
_SMALLEST = float(np.finfo(np.float32).eps)


class Answer(Protocol):
    """The part of a model's output that metrics read (``models.runtime.Output``)."""

    @property
    def prediction(self) -> Any: ...
    @property
    def label(self) -> Any: ...
    @property
    def probability(self) -> Any: ...


def compute_metrics(
    task: Task,
    *,
    truth: np.ndarray[Any, Any],
    output: Answer,
    classes: Sequence[str | int | bool] | None = None,
) -> dict[str, float]:
    """All metrics of a task that these rows can tell.

    Args:
        task: Which metrics.
        truth: [n]; numbers for regression, values of ``classes`` otherwise (their texts do as well).
        output: ``prediction`` float [n]; or ``label`` int [n] and ``probability`` float [n, classes].
        classes: The classes in the order of ``probability``; ``None`` for regression.
    """
    if len(truth) == 0:
        return {}
    if task == "regression":
        return _regression(
            np.asarray(truth, dtype=np.float64), np.asarray(output.prediction, dtype=np.float64)
        )
    known = tuple(classes or ())
    index = class_index(truth, known)
    label = np.asarray(output.label, dtype=np.int64)
    probability = np.asarray(output.probability, dtype=np.float64)
    if task == "binary":
        return _binary(index, label, probability)
    return _multiclass(index, label, probability)


def class_index(values: np.ndarray[Any, Any], classes: Sequence[str | int | bool]) -> np.ndarray[Any, Any]:
    """int64 [n]: the place of each value in ``classes``; -1 for a class the model never saw.

    Values are compared by their one spelling: 3, 3.0 and '3' are the same class.
    """
    places = {category_text(value): place for place, value in enumerate(classes)}
    return np.fromiter(
        (places.get(category_text(value), -1) for value in values.tolist()), dtype=np.int64, count=len(values)
    )


def unknown_metric(name: str, task: Task) -> str | None:
    """``None`` where a task has the metric, else what to write instead."""
    import difflib

    if name in METRICS[task]:
        return None
    near = difflib.get_close_matches(name, METRICS[task], n=1, cutoff=0.5)
    known = f"the metrics of a {task} model are {', '.join(METRICS[task])}"
    return f"did you mean {near[0]!r}? {known}" if near else known


def better_by(metric: str, value: float, other: float) -> float:
    """How much ``value`` is better than ``other``, in the metric's own unit; negative where it is worse."""
    return value - other if metric in HIGHER_IS_BETTER else other - value


def _regression(truth: np.ndarray[Any, Any], prediction: np.ndarray[Any, Any]) -> dict[str, float]:
    from sklearn import metrics

    found = {
        "mae": float(metrics.mean_absolute_error(truth, prediction)),
        "rmse": float(metrics.root_mean_squared_error(truth, prediction)),
    }
    if len(truth) > 1 and float(np.ptp(truth)) > 0:
        found["r2"] = float(metrics.r2_score(truth, prediction))
    if not np.any(np.abs(truth) < 1e-12):
        found["mape"] = float(metrics.mean_absolute_percentage_error(truth, prediction))
    return found


def _binary(
    index: np.ndarray[Any, Any], label: np.ndarray[Any, Any], probability: np.ndarray[Any, Any]
) -> dict[str, float]:
    from sklearn import metrics

    truth = index == 1
    score = probability[:, 1]
    found: dict[str, float] = {}
    if truth.any() and not truth.all():
        found["auc"] = float(metrics.roc_auc_score(truth, score))
    if truth.any():
        found["average_precision"] = float(metrics.average_precision_score(truth, score))
    chosen = label == 1
    return found | {
        "log_loss": _log_loss(index, probability),
        "brier": float(np.mean((score - truth) ** 2)),
        "accuracy": float(np.mean(index == label)),
        "f1": float(metrics.f1_score(truth, chosen, zero_division=0)),
        "precision": float(metrics.precision_score(truth, chosen, zero_division=0)),
        "recall": float(metrics.recall_score(truth, chosen, zero_division=0)),
    }


def _multiclass(
    index: np.ndarray[Any, Any], label: np.ndarray[Any, Any], probability: np.ndarray[Any, Any]
) -> dict[str, float]:
    from sklearn import metrics

    return {
        "accuracy": float(np.mean(index == label)),
        "macro_f1": float(metrics.f1_score(index, label, average="macro", zero_division=0)),
        "log_loss": _log_loss(index, probability),
    }


def _log_loss(index: np.ndarray[Any, Any], probability: np.ndarray[Any, Any]) -> float:
    """Mean of -ln of the probability given to the true class; a class the model does not know had probability 0.

    Written out because scikit-learn's needs every true class among its labels.
    """
    total = probability.sum(axis=1, keepdims=True)
    share = probability / np.where(total > 0, total, 1.0)
    given = np.where(index >= 0, share[np.arange(len(index)), np.maximum(index, 0)], 0.0)
    return float(-np.mean(np.log(np.clip(given, _SMALLEST, 1.0))))
