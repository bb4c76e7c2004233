"""How good the model really is, where the truth arrived, against how good it was on its held-out rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlops_box.evaluation.metrics import HIGHER_IS_BETTER, class_index, compute_metrics
from mlops_box.monitoring.values import QualityFinding, QualityOutcome
from mlops_box.project import Task

MIN_TRUTH = 30  # with fewer rows an interval is not to be trusted
_RESAMPLES = 400
_INTERVAL = (0.025, 0.975)
_MOST_ROWS = 5000  # larger samples are thinned for the interval, which is then a little too wide

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Answers:
    """What the model answered for the rows whose truth is known; the shape that the metrics read."""

    prediction: Array | None
    label: Array | None
    probability: Array | None

    def take(self, index: Array) -> Answers:
        return Answers(*(None if part is None else part[index] for part in (
            self.prediction, self.label, self.probability
        )))  # fmt: skip


def assess_quality(
    task: Task,
    *,
    truth: Array,
    answers: Answers,
    classes: Sequence[str | int | bool] | None,
    metric: str,
    held_out: Mapping[str, float],
    limit: float,
    rows: int,
    held_out_rows: int | None = None,
    seed: int = 0,
) -> QualityFinding:
    """Compare the realised metric with the held-out one.

    It is a loss where the relative loss exceeds ``limit`` and its 95 % bootstrap interval excludes zero (Efron 1979,
    Ann. Statist. 7; percentile interval); with fewer than 30 rows nobody can tell.

    Args:
        truth: [n]: numbers, or classes (or their texts).
        answers: What was answered for those rows.
        metric: The metric that decides.
        held_out: The version's metrics on its held-out rows.
        limit: Relative loss that alarms: 0.2 for a metric a fifth worse.
        rows: All predictions of the window, with truth or without.
        held_out_rows: How many rows ``held_out`` rests on: its own uncertainty widens the interval. ``None``: not known,
            and taken as exact.
    """
    realised = compute_metrics(task, truth=truth, output=answers, classes=classes) if len(truth) else {}
    before = held_out.get(metric)
    value = realised.get(metric)
    reason = _not_comparable(metric, len(truth), value, before)
    if reason or value is None or before is None:
        return QualityFinding(
            "cannot_tell", metric, value, before, None, None, None, limit, rows, len(truth), MIN_TRUTH,
            reason, realised,
        )  # fmt: skip
    loss = _loss(metric, value, before)
    low, high = _loss_interval(task, truth, answers, classes, metric, before, seed)
    if low is not None and high is not None and held_out_rows:
        # Rows of both samples scatter alike, so the variance of their difference is 1 + n/m times that of one.
        widening = math.sqrt(1 + min(len(truth), _MOST_ROWS) / held_out_rows)
        low, high = loss - (loss - low) * widening, loss + (high - loss) * widening
    outcome: QualityOutcome = "fine"
    if len(truth) < MIN_TRUTH:
        outcome = "cannot_tell"
    elif loss > limit:
        outcome = "loss" if low is not None and low > 0 else "cannot_tell"
    return QualityFinding(
        outcome, metric, value, before, loss, low, high, limit, rows, len(truth), MIN_TRUTH,
        _reason(outcome, metric, value, before, loss, limit, len(truth), rows), realised,
    )  # fmt: skip


def _not_comparable(metric: str, rows: int, value: float | None, before: float | None) -> str:
    if rows == 0:
        return "no ground truth has arrived"
    if value is None:
        return f"{metric} cannot be computed on {rows} rows with ground truth"
    if before is None:
        return f"the version has no {metric} of its held-out rows"
    if before == 0 or (metric in HIGHER_IS_BETTER and before < 0):
        return f"the held-out {metric} is {before:g}: a relative loss has no meaning"
    return ""


def _loss(metric: str, value: float, before: float) -> float:
    change = (value - before) / abs(before)
    return -change if metric in HIGHER_IS_BETTER else change


def _reason(
    outcome: QualityOutcome, metric: str, value: float, before: float, loss: float, limit: float,
    truths: int, rows: int,
) -> str:  # fmt: skip
    worse = f"{loss:.0%} worse than" if loss > 0 else f"{-loss:.0%} better than"
    numbers = f"{metric} {value:.4g} on {truths} of {rows} rows, {worse} the held-out {before:.4g}"
    if outcome == "cannot_tell":
        why = (
            f"{MIN_TRUTH} rows with ground truth are needed"
            if truths < MIN_TRUTH
            else "that may be chance: its interval includes no loss"
        )
        return f"{numbers}; {why}"
    return f"{numbers} (limit {limit:.0%})"


def _loss_interval(
    task: Task, truth: Array, answers: Answers, classes: Sequence[str | int | bool] | None, metric: str,
    before: float, seed: int,
) -> tuple[float | None, float | None]:  # fmt: skip
    """95 % percentile interval of the relative loss over resampled rows."""
    if len(truth) < 2:
        return None, None
    rng = np.random.default_rng(seed)
    if len(truth) > _MOST_ROWS:
        kept = np.sort(rng.choice(len(truth), _MOST_ROWS, replace=False))
        truth, answers = truth[kept], answers.take(kept)
    values = _resampled(task, truth, answers, classes, metric, rng)
    if len(values) < _RESAMPLES / 2:
        return None, None
    losses = [_loss(metric, value, before) for value in values]
    low, high = np.quantile(losses, _INTERVAL)
    return float(low), float(high)


def _resampled(
    task: Task, truth: Array, answers: Answers, classes: Sequence[str | int | bool] | None, metric: str,
    rng: np.random.Generator,
) -> list[float]:  # fmt: skip
    """The metric on resamples; metrics that are means of a loss per row need no recomputation."""
    per_row = _row_losses(task, truth, answers, classes, metric)
    if per_row is not None:
        means = _resampled_means(per_row, rng)
        return [float(value) for value in (means**0.5 if metric == "rmse" else means)]
    found = []
    for _ in range(_RESAMPLES):
        index = rng.integers(0, len(truth), len(truth))
        sample = compute_metrics(task, truth=truth[index], output=answers.take(index), classes=classes)
        if metric in sample:
            found.append(sample[metric])
    return found


def _resampled_means(values: Array, rng: np.random.Generator) -> Array:
    """The means of resamples, all drawn at once: small integers are what costs least to draw."""
    rows = len(values)
    kind = np.uint16 if rows <= 2**16 else np.uint32
    means: Array = values[rng.integers(0, rows, (_RESAMPLES, rows), dtype=kind)].mean(axis=1)
    return means


def _row_losses(
    task: Task, truth: Array, answers: Answers, classes: Sequence[str | int | bool] | None, metric: str
) -> Array | None:
    """[n]: what the metric is the mean of, or ``None`` where it is no mean."""
    if task == "regression" and answers.prediction is not None:
        gap = np.asarray(truth, dtype=np.float64) - answers.prediction
        return {"mae": np.abs(gap), "rmse": gap**2}.get(metric)
    if answers.label is None or answers.probability is None:
        return None
    index = class_index(truth, tuple(classes or ()))
    if metric == "accuracy":
        right: Array = (index == answers.label).astype(np.float64)
        return right
    if metric == "brier" and task == "binary":
        distance: Array = (answers.probability[:, 1] - (index == 1)) ** 2
        return distance
    if metric == "log_loss":
        total = answers.probability.sum(axis=1)
        given = answers.probability[np.arange(len(index)), np.maximum(index, 0)] / np.where(
            total > 0, total, 1.0
        )
        surprise: Array = -np.log(np.clip(np.where(index >= 0, given, 0.0), np.finfo(np.float32).eps, 1.0))
        return surprise
    return None
