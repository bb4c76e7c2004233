"""How good a model probably is, before any ground truth: estimated, never realised.

Classifiers: accuracy, and ROC AUC and F1 or macro F1, by confidence-based performance estimation
(:mod:`mlops_box.monitoring.cbpe`). Regression: direct loss estimation. A small tree learns the absolute and squared error from
features and prediction on held-out rows.

Both rest on the relation of features and target that held when the model was made. If that relation itself changes
(concept drift), they cannot see it: only ground truth can.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from mlops_box.canonical import canonical_json
from mlops_box.errors import IntegrityError
from mlops_box.monitoring.cbpe import (
    CalibrationMap,
    Expected,
    expected_accuracy,
    expected_auc,
    expected_f1,
    expected_macro_f1,
    fit_map,
)
from mlops_box.monitoring.values import Estimated, EstimateFinding
from mlops_box.project import Task

FORMAT = 2
_READ = (1, 2)  # 1: accuracy only
MIN_HELD_OUT = 100
_OTHERS: dict[Task, tuple[str, ...]] = {
    "binary": ("auc", "f1"),
    "multiclass": ("macro_f1",),
    "regression": (),
}
BLIND = "it cannot see a change in how features and target belong together (concept drift)"
_LEAVES = 24
_ROWS_OF_LEAF = 20
_Z = 1.96

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class LossTree:
    """A regression tree of the losses as arrays, so that nothing needs to be unpickled.

    Attributes:
        columns: Which input a node looks at; -1 for a leaf. Inputs are the features in order, then the prediction; a
            missing value goes left.
        limits: Values up to this go left.
        left, right: Places of the two children.
        mae, mse: Mean absolute and squared error of the held-out rows in a node.
        mae_spread, mse_spread: Standard deviations of the two within a node.
    """

    columns: tuple[int, ...]
    limits: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    mae: tuple[float, ...]
    mse: tuple[float, ...]
    mae_spread: tuple[float, ...]
    mse_spread: tuple[float, ...]

    def leaves(self, inputs: Array) -> Array:
        """[rows]: the leaf of each row of [rows, inputs]."""
        place = np.zeros(len(inputs), dtype=np.int64)
        columns, limits = np.asarray(self.columns), np.asarray(self.limits)
        left, right = np.asarray(self.left), np.asarray(self.right)
        for _ in range(len(columns)):
            inner = columns[place] >= 0
            if not inner.any():
                break
            values = inputs[np.arange(len(inputs)), np.maximum(columns[place], 0)]
            goes_right = values > limits[place]
            place = np.where(inner, np.where(goes_right, right[place], left[place]), place)
        return place


@dataclass(frozen=True)
class Estimator:
    """What a version carries to estimate its quality.

    Attributes:
        metric: accuracy for classifiers, mae or rmse for regression.
        held_out: The metric on the held-out rows.
        held_out_rows: How many these were.
        classes: By class, whether it is the true one; of two classes the second only. Empty in what an earlier program wrote.
        others: Further metrics on the held-out rows, which are estimated beside.
    """

    task: Task
    metric: str
    held_out: float
    held_out_rows: int
    calibration: CalibrationMap | None = None
    tree: LossTree | None = None
    classes: tuple[CalibrationMap, ...] = ()
    others: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        return canonical_json({"format": FORMAT, **asdict(self)})

    @staticmethod
    def from_json(text: str) -> Estimator:
        """The inverse of :meth:`to_json`.

        Raises:
            IntegrityError: The text is no estimator, or one of a newer program.
        """
        try:
            raw = json.loads(text)
            if raw.pop("format") not in _READ:
                raise IntegrityError("the estimator is of a newer program", hint="upgrade mlops-box")
            calibration, tree = raw.pop("calibration"), raw.pop("tree")
            classes = tuple(CalibrationMap(**_tuples(one)) for one in raw.pop("classes", ()))
            return Estimator(
                **raw,
                calibration=CalibrationMap(**_tuples(calibration)) if calibration else None,
                tree=LossTree(**_tuples(tree)) if tree else None,
                classes=classes,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"this is no estimator: {error}", hint="run mlops-box verify") from error


def fit_classifier(
    task: Task, *, probability: Array, label: Array, truth: Array, held_out: Mapping[str, float]
) -> Estimator | None:
    """Learn how far stated probabilities can be believed.

    Args:
        probability: [held-out rows, classes].
        label: [held-out rows]: the place of the class that was answered.
        truth: [held-out rows]: the place of the true one; -1 for one that the model does not know.
        held_out: Metrics on these rows.
    """
    if len(truth) < MIN_HELD_OUT:
        return None
    right = truth == label
    calibration = fit_map(_answered(probability, label), right)
    places = range(probability.shape[1]) if task == "multiclass" else (1,)
    return Estimator(
        task, "accuracy", float(np.mean(right)), len(right), calibration=calibration,
        classes=tuple(fit_map(probability[:, place], truth == place) for place in places),
        others={name: held_out[name] for name in _OTHERS[task] if name in held_out},
    )  # fmt: skip


def fit_regression(*, inputs: Array, error: Array, metric: str, seed: int) -> Estimator | None:
    """Learn where the model errs.

    Args:
        inputs: [held-out rows, features and the prediction]; missing is NaN.
        error: [held-out rows]: prediction less truth.
        metric: ``rmse``, or ``mae`` for everything else.
        seed: Breaks ties between columns.
    """
    if len(error) < MIN_HELD_OUT:
        return None
    from sklearn.tree import DecisionTreeRegressor

    filled = np.where(np.isnan(inputs), -np.inf, inputs)
    filled = np.clip(filled, np.finfo(np.float32).min, np.finfo(np.float32).max)
    model = DecisionTreeRegressor(max_leaf_nodes=_LEAVES, min_samples_leaf=_ROWS_OF_LEAF, random_state=seed)
    loss = np.abs(error)
    tree = model.fit(filled, loss).tree_
    reached = model.apply(filled)
    stats = {node: (loss[reached == node], error[reached == node] ** 2) for node in np.unique(reached)}

    def of(node: int, kind: int, measure: Any) -> float:
        return float(measure(stats[node][kind])) if node in stats else 0.0

    nodes = range(tree.node_count)
    kept = LossTree(
        tuple(int(value) if value >= 0 else -1 for value in tree.feature),
        tuple(float(value) for value in tree.threshold),
        tuple(int(value) for value in tree.children_left),
        tuple(int(value) for value in tree.children_right),
        tuple(of(node, 0, np.mean) for node in nodes),
        tuple(of(node, 1, np.mean) for node in nodes),
        tuple(of(node, 0, np.std) for node in nodes),
        tuple(of(node, 1, np.std) for node in nodes),
    )
    name = "rmse" if metric == "rmse" else "mae"
    held_out = float(np.sqrt((error**2).mean())) if name == "rmse" else float(loss.mean())
    return Estimator("regression", name, held_out, len(error), tree=kept)


def estimate_classifier(
    estimator: Estimator, probability: Array, label: Array, *, min_rows: int
) -> EstimateFinding:
    """What is to be expected of answers.

    Args:
        probability: [rows, classes].
        label: [rows]: the place of the class that was answered.
    """
    calibration = estimator.calibration
    assert calibration is not None
    if len(label) < min_rows:
        return _nothing(estimator, len(label), min_rows)
    accuracy = expected_accuracy(calibration, _answered(probability, label))
    others = {
        name: Estimated(found.value, *_between(found.value, _Z * found.spread, 1.0), held_out)
        for name, held_out in estimator.others.items()
        if (found := _other(estimator, name, probability, label)) is not None
    }
    return _estimated(estimator, accuracy.value, _Z * accuracy.spread, len(label), most=1.0, others=others)


def _other(estimator: Estimator, name: str, probability: Array, label: Array) -> Expected | None:
    if name == "macro_f1":
        return expected_macro_f1(estimator.classes, probability, label)
    score = probability[:, 1]
    if name == "auc":
        return expected_auc(estimator.classes[0], score)
    return expected_f1(estimator.classes[0], score, label == 1)


def _answered(probability: Array, label: Array) -> Array:
    """[rows]: the probability of the class that was answered."""
    stated: Array = probability[np.arange(len(label)), label]
    return stated


def estimate_regression(estimator: Estimator, inputs: Array, *, min_rows: int) -> EstimateFinding:
    """The error to be expected on [rows, features and the prediction]."""
    tree = estimator.tree
    assert tree is not None
    if len(inputs) < min_rows:
        return _nothing(estimator, len(inputs), min_rows)
    leaves = tree.leaves(inputs)
    squared = estimator.metric == "rmse"
    means = np.asarray(tree.mse if squared else tree.mae)[leaves]
    spreads = np.asarray(tree.mse_spread if squared else tree.mae_spread)[leaves]
    mean = float(means.mean())
    own = float((spreads**2).sum()) / len(leaves) ** 2
    learnt = float((spreads**2).mean()) / estimator.held_out_rows
    width = _Z * float(np.sqrt(own + learnt))
    if not squared:
        return _estimated(estimator, mean, width, len(leaves))
    value = float(np.sqrt(mean))
    return _estimated(estimator, value, width / (2 * value) if value else 0.0, len(leaves))


def _estimated(
    estimator: Estimator,
    value: float,
    width: float,
    rows: int,
    *,
    most: float = np.inf,
    others: Mapping[str, Estimated] = MappingProxyType({}),
) -> EstimateFinding:
    low, high = _between(value, width, most)
    beside = "".join(
        f"; {name} {one.value:.4g} ({one.low:.4g} to {one.high:.4g}), held out {one.held_out:.4g}"
        for name, one in others.items()
    )
    text = (
        f"estimated {estimator.metric} {value:.4g} ({low:.4g} to {high:.4g}) without ground truth, "
        f"held out {estimator.held_out:.4g}{beside}; {BLIND}"
    )
    return EstimateFinding(estimator.metric, value, low, high, estimator.held_out, rows, text, dict(others))


def _between(value: float, width: float, most: float) -> tuple[float, float]:
    return max(0.0, value - width), min(most, value + width)


def _nothing(estimator: Estimator, rows: int, min_rows: int) -> EstimateFinding:
    text = f"{rows} rows, {min_rows} are needed to estimate {estimator.metric}"
    return EstimateFinding(estimator.metric, None, None, None, estimator.held_out, rows, text)


def _tuples(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) for key, value in raw.items()}
