"""The first Wasserstein distance in standard deviations of the reference: an effect size.

Source: Vallender (1974), Theory Probab. Appl. 18: it is the area between the two distribution functions. The area is
taken over the range of the reference only, so that one absurd value in a window cannot make it any size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def wasserstein(
    edges: Sequence[float],
    reference: Sequence[int],
    window: Sequence[int],
    *,
    std: float,
    discrete: bool,
) -> float | None:
    """How far rows moved on average; ``None`` for a constant reference.

    Args:
        edges: The shared edges; the outer two are the reference's range.
        std: Standard deviation of the reference.
        discrete: Between two edges no value occurs, so the distribution functions are steps there.
    """
    if std <= 0 or len(edges) < 3:
        return None
    left, right = np.cumsum(reference), np.cumsum(window)
    gap = (left / left[-1] - right / right[-1])[:-1]
    widths = np.diff(np.asarray(edges))
    if discrete:
        # The step at an edge lasts until the next one; below the smallest value there is nothing to move.
        return float((np.abs(gap[1:-1]) * widths[1:]).sum() / std)
    return float(((np.abs(gap[:-1]) + np.abs(gap[1:])) / 2 * widths).sum() / std)
