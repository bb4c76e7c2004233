"""Shares of ten groups, for the measures that need few and well-filled bins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Shares = np.ndarray[Any, np.dtype[np.float64]]
_GROUPS = 10


def decile_groups(reference: Sequence[int], window: Sequence[int]) -> tuple[Shares, Shares]:
    """Counts of both sides in the ten groups of about equal reference mass that the bins can form."""
    counts = np.asarray(reference, dtype=np.float64)
    middle = (np.cumsum(counts) - counts / 2) / counts.sum()
    group = np.minimum((middle * _GROUPS).astype(int), _GROUPS - 1)
    left: Shares = np.bincount(group, weights=counts, minlength=_GROUPS).astype(np.float64)
    right: Shares = np.bincount(group, weights=np.asarray(window), minlength=_GROUPS).astype(np.float64)
    used = (left > 0) | (right > 0)
    return left[used], right[used]


def top_groups(reference: Sequence[float], window: Sequence[float]) -> tuple[Shares, Shares]:
    """Counts of both sides for the nine categories most frequent in the reference, and for all others together."""
    left, right = np.asarray(reference, dtype=np.float64), np.asarray(window, dtype=np.float64)
    order = np.argsort(-left, kind="stable")
    top, rest = order[: _GROUPS - 1], order[_GROUPS - 1 :]
    if not len(rest):
        return left[top], right[top]
    return np.append(left[top], left[rest].sum()), np.append(right[top], right[rest].sum())


def smoothed(counts: Shares) -> Shares:
    """Shares with half a row added to every bin (Jeffreys' prior), so that none is zero."""
    shares: Shares = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    return shares
