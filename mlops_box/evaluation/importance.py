"""Permutation importance: how much worse the model gets when one feature's values are shuffled among the rows.

Works on anything that predicts (Breiman, "Random Forests", Machine Learning 45, 2001; Fisher, Rudin and Dominici,
JMLR 20, 2019). Correlated features share their importance: a low value is no proof that a feature is useless.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlops_box.evaluation.metrics import better_by, compute_metrics
from mlops_box.models.encode import Tensors
from mlops_box.models.runtime import Output
from mlops_box.models.values import Signature


@dataclass(frozen=True)
class Importance:
    """By how much ``metric`` worsens without the feature, in its own unit: mean and spread over the shuffles."""

    feature: str
    mean: float
    spread: float


def permutation_importance(
    predict: Callable[[Tensors], Output],
    tensors: Tensors,
    *,
    truth: np.ndarray[Any, Any],
    signature: Signature,
    metric: str,
    seed: int,
    max_rows: int = 2_000,
    repeats: int = 3,
) -> tuple[Importance, ...]:
    """Importance of each feature, largest first; empty where the metric cannot be computed.

    Args:
        predict: The model.
        tensors: Held-out rows, encoded.
        truth: [n]; their targets.
        signature: Names the columns of the tensors.
        metric: What is watched.
        seed: Of the sample and of the shuffles.
        max_rows: A larger table is sampled.
        repeats: Shuffles a feature.
    """
    random = np.random.default_rng(seed)
    rows = np.arange(tensors.rows)
    if len(rows) > max_rows:
        rows = np.sort(random.choice(rows, size=max_rows, replace=False))
    sample, answers = tensors.take(rows), truth[rows]

    def score(part: Tensors) -> float | None:
        output = predict(part)
        return compute_metrics(signature.task, truth=answers, output=output, classes=signature.classes).get(
            metric
        )

    base = score(sample)
    if base is None:
        return ()
    found = []
    for feature in signature.features:
        losses = []
        for _ in range(repeats):
            shuffled = score(_shuffle(sample, signature, feature.name, random.permutation(len(rows))))
            losses.append(better_by(metric, base, shuffled) if shuffled is not None else 0.0)
        found.append(Importance(feature.name, float(np.mean(losses)), float(np.std(losses))))
    return tuple(sorted(found, key=lambda item: (-item.mean, item.feature)))


def _shuffle(tensors: Tensors, signature: Signature, name: str, order: np.ndarray[Any, Any]) -> Tensors:
    if name in signature.numeric:
        assert tensors.numeric is not None
        numeric = tensors.numeric.copy()
        place = signature.numeric.index(name)
        numeric[:, place] = numeric[order, place]
        return Tensors(numeric, tensors.text)
    assert tensors.text is not None
    text = tensors.text.copy()
    place = signature.categorical.index(name)
    text[:, place] = text[order, place]
    return Tensors(tensors.numeric, text)
