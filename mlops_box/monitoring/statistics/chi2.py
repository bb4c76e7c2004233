"""The two-sample chi-squared test of categories, and Cramér's V as its effect size.

Both samples are random here. Tests that take the reference for the truth alarm on nearly every window of a column with
many values, and one value that the reference lacks makes their statistic infinite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_MIN_EXPECTED = (
    5.0  # below it the distribution of the statistic is not chi-squared (Cochran 1954, Biometrics 10)
)


Counts = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Chi2:
    """``groups`` are the buckets compared; ``effect`` is Cramér's V at equal weight with its bias removed, 0 to 1."""

    groups: int
    p: float
    effect: float


def chi2_two_sample(reference: Sequence[float], window: Sequence[float]) -> Chi2 | None:
    """Compare two vectors of counts.

    Buckets that are expected fewer than five times are thrown together; where even their sum is, it is judged by the
    exact binomial tail instead (is there more of it in the window?), and the smaller p-value counts, doubled.

    Returns:
        ``None`` where nothing is frequent enough to compare.

    The effect at equal weight is ``V**2 = 1/2 sum (p - q)**2 / (p + q)``: unlike the usual V it does not shrink when a
    small window meets a big reference. Its expectation without drift, ``(k - 1)/4 (1/n + 1/m)``, is subtracted
    (the idea of Bergsma 2013, J. Korean Stat. Soc. 42).
    """
    left, right = np.asarray(reference, dtype=np.float64), np.asarray(window, dtype=np.float64)
    rows_left, rows_right = left.sum(), right.sum()
    if rows_left == 0 or rows_right == 0:
        return None
    smaller = min(rows_left, rows_right) / (rows_left + rows_right)
    thin = (left + right) * smaller < _MIN_EXPECTED
    rare_left, rare_right = float(left[thin].sum()), float(right[thin].sum())
    left, right = left[~thin], right[~thin]
    rare = rare_left + rare_right
    one_sided = rare > 0 and (left.sum() == 0 or right.sum() == 0)
    if rare * smaller >= _MIN_EXPECTED or one_sided:
        # Where all that is frequent is on one side, what is rare is all there is of the other.
        left, right, rare = np.append(left, rare_left), np.append(right, rare_right), 0.0
    p_values = []
    if len(left) >= 2:
        p_values.append(_p_value(left, right))
    if len(left) >= 1 and rare:
        p_values.append(_tail(rare_right, rare, rows_right / (rows_left + rows_right)))
        left, right = np.append(left, rare_left), np.append(right, rare_right)
    if len(left) < 2:
        # One value on both sides, or so many that none is frequent: the first is no drift, the second no answer.
        return Chi2(1, 1.0, 0.0) if len(left) == 1 and not rare else None
    return Chi2(len(left), min(1.0, min(p_values) * len(p_values)), _effect(left, right))


def _p_value(left: Counts, right: Counts) -> float:
    from scipy.special import chdtrc

    rows_left, rows_right = left.sum(), right.sum()
    total = left + right
    expected = total * rows_right / (rows_left + rows_right)
    other = total - expected
    statistic = float(((right - expected) ** 2 / expected + (left - other) ** 2 / other).sum())
    return float(chdtrc(len(left) - 1, statistic))


def _tail(hits: float, total: float, share: float) -> float:
    """P(at least ``hits`` of ``total`` rare rows lie in the window), given that a row does with ``share``."""
    from scipy.special import bdtrc

    return float(bdtrc(hits - 1, round(total), share)) if hits >= 1 else 1.0


def _effect(left: Counts, right: Counts) -> float:
    rows_left, rows_right = left.sum(), right.sum()
    p, q = left / rows_left, right / rows_right
    raw = float(((p - q) ** 2 / (p + q)).sum()) / 2
    return math.sqrt(max(0.0, raw - (len(left) - 1) / 4 * (1 / rows_left + 1 / rows_right)))
