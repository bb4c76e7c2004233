"""Confidence-based performance estimation: what metrics of a classifier to expect, from calibrated probabilities alone.

A calibrated probability says how often the class it names is the true one; a metric is computed from the expected counts of
true and false answers. ROC AUC is the expected share of (positive, negative) pairs that are in the right order.

Sources: Kull, Silva Filho and Flach (2017), "Beyond sigmoids", Electron. J. Statist. 11(2), on what calibration means;
Białek, Kuberski, Perrakis and Bifet (2024), "Estimating model performance under covariate shift without labels",
arXiv 2401.08348, section 3, for the estimates (CBPE; several classes: each against the rest). Intervals are ours, by the delta method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_KNOTS = 50
_ROWS_OF_KNOT = 25


@dataclass(frozen=True)
class Expected:
    """A metric to be expected; ``spread`` is the standard deviation of the realised one around it."""

    value: float
    spread: float


@dataclass(frozen=True)
class CalibrationMap:
    """Isotonic regression of what came true on the stated probability: linear between knots, constant outside.

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

    def variance(self, probability: Array, gradient: Array) -> float:
        """Of a metric, because every knot was learnt from so many rows only.

        Args:
            probability: [rows], as stated.
            gradient: [rows]: how the metric changes with the calibrated probability of each.
        """
        middles = (np.asarray(self.stated)[1:] + np.asarray(self.stated)[:-1]) / 2
        pull = np.bincount(np.searchsorted(middles, probability), gradient, minlength=len(self.stated))
        right, rows = np.asarray(self.right), np.asarray(self.rows)
        # Half a row each way, so that a knot that was always right is not taken for certain.
        spread = (right * rows + 0.5) / (rows + 1)
        return float((pull**2 * spread * (1 - spread) / rows).sum())


def fit_map(probability: Array, came_true: Array) -> CalibrationMap:
    """Learn how far stated probabilities can be believed, from held-out rows."""
    from sklearn.isotonic import IsotonicRegression

    order = np.argsort(probability, kind="stable")
    groups = np.array_split(order, max(2, len(order) // max(_ROWS_OF_KNOT, len(order) // _KNOTS)))
    stated = np.array([probability[group].mean() for group in groups])
    hits = np.array([came_true[group].mean() for group in groups])
    rows = np.array([len(group) for group in groups])
    risen = IsotonicRegression().fit_transform(np.arange(len(groups)), hits, sample_weight=rows)
    return CalibrationMap(tuple(stated.tolist()), tuple(risen.tolist()), tuple(rows.tolist()))


def expected_accuracy(calibration: CalibrationMap, stated: Array) -> Expected:
    """The share of right answers among answers with these probabilities [rows]."""
    right = calibration(stated)
    return _with_spread(float(right.mean()), calibration, stated, np.full(len(right), 1 / len(right)))


def expected_f1(calibration: CalibrationMap, score: Array, chosen: Array) -> Expected | None:
    """F1 of the class that ``score`` [rows] is stated for, where it was answered in the ``chosen`` [rows].

    ``None`` where neither an answer nor a truth of that class is to be expected.
    """
    found = _f1(calibration(score), chosen)
    return _with_spread(found[0], calibration, score, found[1]) if found is not None else None


def expected_auc(calibration: CalibrationMap, score: Array) -> Expected | None:
    """ROC AUC; ``None`` where hardly a row of one of the two classes is to be expected."""
    p = calibration(score)
    positive, negative = float(p.sum()), float((1 - p).sum())
    if min(positive, negative) < 1:
        return None
    _, place = np.unique(score, return_inverse=True)
    # Of all rows with the same score half count as below, half as above.
    below = _below(np.bincount(place, 1 - p))[place] - (1 - p) / 2
    above = positive - _below(np.bincount(place, p))[place] - p / 2
    pairs = positive * negative - float((p * (1 - p)).sum())
    value = float((p * below).sum()) / pairs
    gradient = (below - above) / pairs - value * (negative - positive) / pairs
    return _with_spread(value, calibration, score, gradient)


def expected_macro_f1(maps: Sequence[CalibrationMap], probability: Array, label: Array) -> Expected | None:
    """The mean of every class's F1, each class against the rest.

    Args:
        probability: [rows, classes].
        label: [rows]: the place of the class that was answered.
    """
    stated = [calibration(probability[:, place]) for place, calibration in enumerate(maps)]
    found = {place: _f1(p, label == place) for place, p in enumerate(stated)}
    parts = {place: part for place, part in found.items() if part is not None}
    if not parts:
        return None
    value = sum(part[0] for part in parts.values()) / len(parts)
    gradients = {place: part[1] / len(parts) for place, part in parts.items()}
    shares = np.column_stack(stated)
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    # One class of each row comes true: a truth that one class loses another gains.
    gain = sum(shares[:, place] * gradient for place, gradient in gradients.items())
    own = sum(float((shares[:, place] * gradient**2).sum()) for place, gradient in gradients.items())
    learnt = sum(
        maps[place].variance(probability[:, place], gradient) for place, gradient in gradients.items()
    )
    return Expected(value, float(np.sqrt(max(0.0, own - float(np.sum(np.square(gain)))) + learnt)))


def _f1(p: Array, chosen: Array) -> tuple[float, Array] | None:
    """(F1, [rows]: how it changes with each probability)."""
    both = float(chosen.sum() + p.sum())
    if both < 1:
        return None
    value = 2 * float(p[chosen].sum()) / both
    return value, (2 * chosen - value) / both


def _below(weights: Array) -> Array:
    """For each group in order, the weight of all lower ones and half its own."""
    found: Array = np.cumsum(weights) - weights / 2
    return found


def _with_spread(value: float, calibration: CalibrationMap, stated: Array, gradient: Array) -> Expected:
    """Each truth falls by chance, and the map itself was learnt from so many rows."""
    p = calibration(stated)
    own = float((gradient**2 * p * (1 - p)).sum())
    return Expected(value, float(np.sqrt(own + calibration.variance(stated, gradient))))
