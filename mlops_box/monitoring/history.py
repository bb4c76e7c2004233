"""How much a column differed from window to window before: counts of earlier windows between the reference's edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlops_box.monitoring.counts import CategoricalCounts, ColumnCounts, NumericCounts
from mlops_box.monitoring.reference import CategoricalReference, ColumnReference

Integers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class ColumnHistory:
    """One column over [windows].

    Attributes:
        counts: [windows, bins] as :class:`NumericCounts` has them, or [windows, values + 1] for a categorical column, the
            last of which counts values that are not listed.
        nulls: [windows].
    """

    counts: Integers
    nulls: Integers

    def __len__(self) -> int:
        return len(self.nulls)

    @property
    def rows(self) -> Integers:
        """[windows]: rows with a value."""
        total: Integers = self.counts.sum(axis=1)
        return total

    def take(self, places: Sequence[int] | Integers) -> ColumnHistory:
        """Some windows."""
        index = np.asarray(places, dtype=np.int64)
        return ColumnHistory(self.counts[index], self.nulls[index])

    def thinned(self, rows: int, seed: int = 0) -> ColumnHistory:
        """Windows with more than ``rows`` rows as if only so many of theirs, drawn by chance, had come.

        A small window scatters more than a large one; thinned, both scatter alike.
        """
        table = np.column_stack([self.counts, self.nulls])
        totals = table.sum(axis=1)
        large = np.flatnonzero(totals > rows)
        if not len(large):
            return self
        draw = np.random.default_rng(seed)
        table = table.copy()
        for place in large:
            table[place] = draw.multivariate_hypergeometric(table[place], rows)
        return ColumnHistory(table[:, :-1], table[:, -1])

    @staticmethod
    def of(windows: Sequence[ColumnCounts]) -> ColumnHistory:
        """From counts of each window, all made with one reference."""
        counts = [
            (*window.counts, window.unlisted) if isinstance(window, CategoricalCounts) else window.counts
            for window in windows
        ]
        return ColumnHistory(
            np.array(counts, dtype=np.int64).reshape(len(windows), -1),
            np.array([window.nulls for window in windows], dtype=np.int64),
        )

    def window(self, place: int, reference: ColumnReference) -> ColumnCounts:
        """One window's counts."""
        counts, nulls = self.counts[place].tolist(), int(self.nulls[place])
        if isinstance(reference, CategoricalReference):
            return CategoricalCounts(tuple(counts[:-1]), counts[-1], (), nulls)
        return NumericCounts(tuple(counts), nulls)

    def merged(self, reference: ColumnReference) -> ColumnReference:
        """The reference as if it had seen these windows only; edges, range and listed values stay its own."""
        return as_reference(reference, self.counts.sum(axis=0), int(self.nulls.sum()))


def as_reference(reference: ColumnReference, counts: Integers, nulls: int) -> ColumnReference:
    """The reference with other counts: [bins], or [values + 1] for a categorical column."""
    held = counts.tolist()
    if isinstance(reference, CategoricalReference):
        # Which of the rest occurred once only is not known of windows: its share of all rows is taken over.
        single = sum(count == 1 for count in held[:-1])
        if not reference.complete and reference.rows:
            single = round(reference.singletons * sum(held) / reference.rows)
        return replace(reference, counts=tuple(held[:-1]), rest=held[-1], singletons=single, nulls=nulls)
    return replace(reference, counts=tuple(held), nulls=nulls)
