"""Numbers: the Kolmogorov-Smirnov distance, less what sketches may have added to it."""

from __future__ import annotations

import numpy as np

from mlops_box.monitoring.counts import ColumnCounts, NumericCounts
from mlops_box.monitoring.detectors.base import Compared, Effects, too_few
from mlops_box.monitoring.history import ColumnHistory
from mlops_box.monitoring.reference import ColumnReference, NumericReference
from mlops_box.monitoring.statistics.ks import ks_distance, ks_p_value


class KolmogorovSmirnov:
    """The largest difference of the two cumulative shares."""

    name = "ks"
    order = 0

    def applies(self, reference: ColumnReference) -> bool:
        return isinstance(reference, NumericReference)

    def compare(self, reference: ColumnReference, counts: ColumnCounts, rows: int) -> Compared:
        if not isinstance(reference, NumericReference) or not isinstance(counts, NumericCounts):
            raise ValueError(f"column {reference.name} was counted with another reference")
        why = too_few(reference.rows, counts.rows)
        if why:
            return Compared(None, None, why)
        distance = ks_distance(reference.counts, counts.counts)
        p = ks_p_value(distance, reference.rows, counts.rows, error=counts.rank_error)
        effect = max(0.0, distance - counts.rank_error)
        return Compared(p, effect, f"KS distance {effect:.3f}")

    def leave_one_out(self, reference: ColumnReference, history: ColumnHistory) -> Effects:
        rows = history.rows.astype(np.float64)
        rest_rows = rows.sum() - rows
        cumulative = np.cumsum(history.counts, axis=1).astype(np.float64)
        rest = cumulative.sum(axis=0) - cumulative
        with np.errstate(invalid="ignore", divide="ignore"):
            gaps = np.abs(cumulative / rows[:, None] - rest / rest_rows[:, None])
        effects: Effects = gaps.max(axis=1)
        return effects


DETECTOR = KolmogorovSmirnov()
