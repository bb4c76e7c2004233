"""The difference of two shares, for missing values."""

from __future__ import annotations

import math


def share_p_value(hits_reference: int, rows_reference: int, hits_window: int, rows_window: int) -> float:
    """Two-sided p-value that two shares are equal: the pooled z-test with Yates' correction.

    Source: Fleiss, Levin, Paik, Statistical Methods for Rates and Proportions, 3rd ed., section 3.1.
    """
    pooled = (hits_reference + hits_window) / (rows_reference + rows_window)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / rows_reference + 1 / rows_window))
    if spread == 0:
        return 1.0
    distance = abs(hits_reference / rows_reference - hits_window / rows_window)
    correction = (1 / rows_reference + 1 / rows_window) / 2
    return math.erfc(max(0.0, distance - correction) / spread / math.sqrt(2))
