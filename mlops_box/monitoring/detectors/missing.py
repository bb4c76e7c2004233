"""Any column: did the share of rows without a value change?"""

from __future__ import annotations

import numpy as np

from mlops_box.monitoring.counts import ColumnCounts
from mlops_box.monitoring.detectors.base import Compared, Effects
from mlops_box.monitoring.history import ColumnHistory
from mlops_box.monitoring.reference import ColumnReference
from mlops_box.monitoring.statistics.proportions import share_p_value


class MissingShare:
    """The difference of the two shares."""

    name = "missing"
    order = 1

    def applies(self, reference: ColumnReference) -> bool:
        return True

    def compare(self, reference: ColumnReference, counts: ColumnCounts, rows: int) -> Compared:
        before_rows = reference.nulls + reference.rows
        if before_rows == 0 or rows == 0:
            return Compared(None, None, "the reference has no rows")
        before, now = reference.nulls / before_rows, counts.nulls / rows
        return Compared(
            share_p_value(reference.nulls, before_rows, counts.nulls, rows),
            abs(now - before),
            f"missing {now:.1%}, was {before:.1%}",
        )

    def leave_one_out(self, reference: ColumnReference, history: ColumnHistory) -> Effects:
        nulls, rows = history.nulls.astype(np.float64), (history.rows + history.nulls).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            effects: Effects = np.abs(nulls / rows - (nulls.sum() - nulls) / (rows.sum() - rows))
        return effects


DETECTOR = MissingShare()
