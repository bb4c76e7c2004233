"""The population stability index: shown as an effect size, never a verdict.

Its rules of thumb (0.1, 0.25) ignore the number of rows: without any drift it is about (bins - 1)(1/n + 1/m)
(Yurdakul 2018; arXiv 2307.11878).
"""

from __future__ import annotations

import numpy as np

from mlops_box.monitoring.statistics.shares import Shares, smoothed


def psi(reference: Shares, window: Shares) -> float:
    """``sum (q - p) ln(q / p)`` over bins; 0 for equal shares, without an upper bound."""
    left, right = smoothed(reference), smoothed(window)
    return float(((right - left) * np.log(right / left)).sum())
