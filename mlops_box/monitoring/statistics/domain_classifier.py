"""Can a classifier tell the rows of two samples apart? It sees what no single column shows, such as a correlation.

Source: Lopez-Paz and Oquab (2017), ICLR (classifier two-sample tests), with the area under the ROC curve as statistic and
its variance under the null hypothesis after Mann and Whitney (1947), Ann. Math. Statist. 18. The classifier is a ridge
regression on the columns and the products of any two, which is fast and, unlike a linear one, sees correlations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Matrix = np.ndarray[Any, np.dtype[np.float32]]
_RIDGE = 0.1  # of the rows learnt from; columns have variance one


@dataclass(frozen=True)
class Separation:
    """``effect`` is ``2 AUC - 1``, never below 0; ``p`` is one-sided: samples cannot be too alike."""

    auc: float
    p: float

    @property
    def effect(self) -> float:
        return max(0.0, 2 * self.auc - 1)


def separate(left: Matrix, right: Matrix, *, seed: int = 0) -> Separation:
    """Learn on half of both samples and rank the other half, both ways round.

    Args:
        left, right: [rows, columns] on one scale.
    """
    rng = np.random.default_rng(seed)
    folds = [_halves(len(left), rng), _halves(len(right), rng)]
    both = quadratic(np.concatenate([left, right]))
    both -= both.mean(axis=0)
    spread = np.sqrt(np.einsum("ij,ij->j", both, both) / len(both))
    both /= np.where(spread > 1e-6, spread, np.float32(1))
    target = np.concatenate([np.full(len(left), -1, np.float32), np.ones(len(right), np.float32)])
    fold = np.concatenate(folds)
    areas, scores = [], []
    for held in (0, 1):
        learn, judge = fold != held, fold == held
        weights = _ridge(both[learn], target[learn])
        area = _area(both[judge] @ weights, target[judge] > 0)
        n, m = int((target[judge] < 0).sum()), int((target[judge] > 0).sum())
        areas.append(area)
        scores.append((area - 0.5) / math.sqrt((n + m + 1) / (12 * n * m)))
    # Both ways round measure nearly the same product of the two halves' differences: their scores are averaged, not
    # added up as if they were independent.
    return Separation(sum(areas) / 2, math.erfc(sum(scores) / 2 / math.sqrt(2)) / 2)


def quadratic(columns: Matrix) -> Matrix:
    """The columns, and the product of any two (a column with itself too)."""
    left, right = np.triu_indices(columns.shape[1])
    return np.concatenate([columns, columns[:, left] * columns[:, right]], axis=1)


def _halves(rows: int, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.int64]]:
    """[rows]: 0 or 1, as many of each as can be."""
    return rng.permutation(rows) % 2


def _ridge(columns: Matrix, target: Matrix) -> Matrix:
    """Both samples weigh the same, whatever their sizes."""
    share = np.where(target > 0, (target > 0).mean(), (target < 0).mean())
    scale = np.sqrt(1 / (2 * share)).astype(np.float32)
    columns = columns * scale[:, None]
    gram = columns.T @ columns
    gram[np.diag_indices_from(gram)] += np.float32(_RIDGE * len(columns))
    solved: Matrix = np.linalg.solve(gram, columns.T @ (target * scale))
    return solved


def _area(scores: Matrix, positive: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    """The area under the ROC curve, ties counted by half."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[place]
    n, m = int((~positive).sum()), int(positive.sum())
    return float((ranks[positive].sum() - m * (m + 1) / 2) / (n * m))
