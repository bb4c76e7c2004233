"""What a detector of drift in one column is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mlops_box.monitoring.counts import ColumnCounts
from mlops_box.monitoring.history import ColumnHistory
from mlops_box.monitoring.reference import ColumnReference

MIN_VALUES = 20  # fewer values of one column are not compared, whatever the window's size
Effects = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Compared:
    """One comparison.

    Attributes:
        p: Probability of so much difference among rows drawn from one distribution; ``None`` where nothing could be
            compared, and ``message`` says why.
        effect: How large the difference is, between 0 and 1.
    """

    p: float | None
    effect: float | None
    message: str


class ColumnDetector(Protocol):
    """Compares one column of a window with the reference.

    Attributes:
        name: The test's name in findings; also how it is told apart in what is stored.
        order: Place among the tests of a column.
    """

    name: str
    order: int

    def applies(self, reference: ColumnReference) -> bool:
        """Is it meant for such a column?"""

    def compare(self, reference: ColumnReference, counts: ColumnCounts, rows: int) -> Compared:
        """Compare; ``counts`` were made with ``reference``, in a window of ``rows`` rows."""

    def leave_one_out(self, reference: ColumnReference, history: ColumnHistory) -> Effects:
        """The effect of each earlier window [windows] against all the others together; NaN where there is none."""


def too_few(rows_reference: int, rows_window: int) -> str | None:
    """Why there are too few values to compare, if there are."""
    if rows_reference < MIN_VALUES:
        return f"the reference has {rows_reference} values, {MIN_VALUES} are needed"
    if rows_window < MIN_VALUES:
        return f"{rows_window} values, {MIN_VALUES} are needed"
    return None
