"""How good a model probably is, before any ground truth: estimated, never realised.

Classifiers: confidence-based performance estimation (CBPE; NannyML 2022). A calibrated probability says how often the
answer is right; the metric is its expectation over the window. Regression: direct loss estimation. A small tree learns
the absolute and squared error from features and prediction on held-out rows.

Both rest on the relation of features and target that held when the model was made. If that relation itself changes
(concept drift), they cannot see it: only ground truth can.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mlops_box.canonical import canonical_json
from mlops_box.errors import IntegrityError
from mlops_box.monitoring.values import EstimateFinding
from mlops_box.project import Task

FORMAT = 1
MIN_HELD_OUT = 100
BLIND = "it cannot see a change in how features and target belong together (concept drift)"
_KNOTS = 50
_ROWS_OF_KNOT = 25
_LEAVES = 24
_ROWS_OF_LEAF = 20
_Z = 1.96

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class CalibrationMap:
    """Isotonic regression of being right on the stated probability: linear between knots, constant outside.

    Attributes:
        stated, right: A knot is a group of held-out rows with about the same stated probability.
        rows: How many; a single row at the edge would pull the map to 0 or 1.
    """

    stated: tuple[float, ...]
    right: tuple[float, ...]
    rows: tuple[int, ...]

    def __call__(self, probability: Array) -> Array:
        found: Array = np.interp(probability, self.stated, self.right)
        return found

    def variance(self, probability: Array) -> float:
        """Of the mean over these probabilities, because every knot was learnt from so many rows."""
        middles = (np.asarray(self.stated)[1:] + np.asarray(self.stated)[:-1]) / 2
        share = np.bincount(np.searchsorted(middles, probability), minlength=len(self.stated)) / len(
            probability
        )
        right, rows = np.asarray(self.right), np.asarray(self.rows)
        # Half a row each way, so that a knot that was always right is not taken for certain.
        spread = (right * rows + 0.5) / (rows + 1)
        return float((share**2 * spread * (1 - spread) / rows).sum())


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
    """

    task: Task
    metric: str
    held_out: float
    held_out_rows: int
    calibration: CalibrationMap | None = None
    tree: LossTree | None = None

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
            if raw.pop("format") != FORMAT:
                raise IntegrityError("the estimator is of a newer program", hint="upgrade mlops-box")
            calibration, tree = raw.pop("calibration"), raw.pop("tree")
            return Estimator(
                **raw,
                calibration=CalibrationMap(**_tuples(calibration)) if calibration else None,
                tree=LossTree(**_tuples(tree)) if tree else None,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"this is no estimator: {error}", hint="run mlops-box verify") from error


def fit_classifier(task: Task, *, probability: Array, right: Array) -> Estimator | None:
    """Learn how far stated probabilities can be believed.

    Args:
        probability: [held-out rows]: of the class that was answered.
        right: [held-out rows]: was it the true one?
    """
    if len(right) < MIN_HELD_OUT:
        return None
    from sklearn.isotonic import IsotonicRegression

    order = np.argsort(probability, kind="stable")
    groups = np.array_split(order, max(2, len(order) // max(_ROWS_OF_KNOT, len(order) // _KNOTS)))
    stated = np.array([probability[group].mean() for group in groups])
    hits = np.array([right[group].mean() for group in groups])
    rows = np.array([len(group) for group in groups])
    risen = IsotonicRegression().fit_transform(np.arange(len(groups)), hits, sample_weight=rows)
    knots = CalibrationMap(tuple(stated.tolist()), tuple(risen.tolist()), tuple(rows.tolist()))
    return Estimator(task, "accuracy", float(np.mean(right)), len(right), calibration=knots)


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


def estimate_classifier(estimator: Estimator, probability: Array, *, min_rows: int) -> EstimateFinding:
    """The accuracy to be expected of answers with these probabilities [rows]."""
    assert estimator.calibration is not None
    if len(probability) < min_rows:
        return _nothing(estimator, len(probability), min_rows)
    right = estimator.calibration(probability)
    value = float(right.mean())
    # Each answer is right or wrong by chance; and the map itself was learnt from so many rows.
    own = float((right * (1 - right)).sum()) / len(right) ** 2
    learnt = estimator.calibration.variance(probability)
    return _estimated(estimator, value, _Z * float(np.sqrt(own + learnt)), len(probability), most=1.0)


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
    estimator: Estimator, value: float, width: float, rows: int, *, most: float = np.inf
) -> EstimateFinding:
    low, high = max(0.0, value - width), min(most, value + width)
    text = (
        f"estimated {estimator.metric} {value:.4g} ({low:.4g} to {high:.4g}) without ground truth, "
        f"held out {estimator.held_out:.4g}; {BLIND}"
    )
    return EstimateFinding(estimator.metric, value, low, high, estimator.held_out, rows, text)


def _nothing(estimator: Estimator, rows: int, min_rows: int) -> EstimateFinding:
    text = f"{rows} rows, {min_rows} are needed to estimate {estimator.metric}"
    return EstimateFinding(estimator.metric, None, None, None, estimator.held_out, rows, text)


def _tuples(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) for key, value in raw.items()}
