"""The Jensen-Shannon distance, base 2, so that it lies between 0 and 1: an effect size.

Source: Endres and Schindelin (2003), IEEE Trans. Inf. Theory 49 (the root is a metric).
"""

from __future__ import annotations

import math

import numpy as np

from mlops_box.monitoring.statistics.shares import Shares


def js_distance(reference: Shares, window: Shares) -> float:
    """The square root of the divergence of two count vectors; 0 for equal shares, 1 for disjoint ones."""
    left, right = reference / reference.sum(), window / window.sum()
    middle = (left + right) / 2
    divergence = (_relative_entropy(left, middle) + _relative_entropy(right, middle)) / 2
    return math.sqrt(min(1.0, max(0.0, divergence)))


def _relative_entropy(shares: Shares, base: Shares) -> float:
    there = shares > 0
    return float((shares[there] * np.log2(shares[there] / base[there])).sum())
