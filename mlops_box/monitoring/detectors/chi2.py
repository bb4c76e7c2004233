"""Categories: the two-sample chi-squared test with a bucket for all other values."""

from __future__ import annotations

import numpy as np

from mlops_box.monitoring.buckets import buckets
from mlops_box.monitoring.counts import CategoricalCounts, ColumnCounts
from mlops_box.monitoring.detectors.base import Compared, Effects, too_few
from mlops_box.monitoring.history import ColumnHistory, as_reference
from mlops_box.monitoring.reference import CategoricalReference, ColumnReference
from mlops_box.monitoring.statistics.chi2 import Chi2, chi2_two_sample


class ChiSquared:
    """Cramér's V at equal weight."""

    name = "chi2"
    order = 0

    def applies(self, reference: ColumnReference) -> bool:
        return isinstance(reference, CategoricalReference)

    def compare(self, reference: ColumnReference, counts: ColumnCounts, rows: int) -> Compared:
        if not isinstance(reference, CategoricalReference) or not isinstance(counts, CategoricalCounts):
            raise ValueError(f"column {reference.name} was counted with another reference")
        why = too_few(reference.rows, counts.rows)
        if why:
            return Compared(None, None, why)
        result = _tested(reference, counts)
        if result is None:
            return Compared(None, None, "no value is frequent enough")
        text = f"Cramér's V {result.effect:.3f} over {result.groups} groups of values"
        return Compared(result.p, result.effect, text)

    def leave_one_out(self, reference: ColumnReference, history: ColumnHistory) -> Effects:
        total, nulls = history.counts.sum(axis=0), int(history.nulls.sum())
        found = np.full(len(history), np.nan)
        for place in range(len(history)):
            rest = as_reference(reference, total - history.counts[place], nulls - int(history.nulls[place]))
            window = history.window(place, reference)
            assert isinstance(rest, CategoricalReference)
            assert isinstance(window, CategoricalCounts)
            result = _tested(rest, window) if rest.rows and window.rows else None
            if result is not None:
                found[place] = result.effect
        return found


def _tested(reference: CategoricalReference, counts: CategoricalCounts) -> Chi2 | None:
    left, right = buckets(reference, counts)
    return chi2_two_sample(left, right)


DETECTOR = ChiSquared()
