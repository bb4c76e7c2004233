"""The contract for whole columns: numpy passes what is plainly good, and the row's check judges the rest.

So a column and the same values one by one get the same verdicts, under the same rule ids, in the same words. One thing
differs: float32 cannot hold 0.1, so a bound of 0.1 is rounded as the values were, and the bound itself passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_box.data.rows import ColumnCheck, RowContract, RowProblem, finite_problem

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Found = tuple[int, RowProblem]

_FLOAT_EXACT = 2**53
_INT64 = 2.0**63


class ArrayContract:
    """The rules of a row contract, for columns.

    Args:
        rows: Whose rules; its columns are those that are expected.
    """

    def __init__(self, rows: RowContract):
        self._checks: Mapping[str, ColumnCheck] = rows.checks

    def check(self, columns: Mapping[str, Array], rows: int) -> list[Found]:
        """``(row, problem)`` for every broken rule, by row and then by column; NaN and NaT are missing.

        A column that is absent is missing in every row. What is infinite is refused with or without a rule.

        Args:
            columns: Column to an array [rows].
            rows: How many.
        """
        found: list[tuple[int, int, RowProblem]] = []
        for order, (column, check) in enumerate(self._checks.items()):
            values = columns.get(column)
            if values is None:
                found.extend((row, order, problem) for problem in check(None) for row in range(rows))
            else:
                found.extend((row, order, problem) for row, problem in _judged(check, values))
        for order, (column, values) in enumerate(columns.items(), start=len(self._checks)):
            if values.dtype.kind == "f" and column not in self._checks:
                found.extend(
                    (int(row), order, finite_problem(column, values[row].item()))
                    for row in np.flatnonzero(np.isinf(values))
                )
        found.sort(key=lambda item: item[:2])
        return [(row, problem) for row, _, problem in found]


class MatrixContract:
    """The same for a matrix whose columns are the features, where a boolean is 0 or 1 since it cannot be told otherwise.

    Args:
        rows: Whose rules.
        features: The columns of the matrix, in order.
        dtype: Of the matrix: float32 or float64.
    """

    def __init__(
        self, rows: RowContract, features: Sequence[str], dtype: type[np.floating[Any]] = np.float32
    ):
        self._features = tuple(features)
        self._checks = [rows.checks.get(feature) for feature in features]
        self._low = np.full(len(self._features), np.finfo(dtype).min)
        self._high = -self._low
        self._nullable = np.ones(len(self._features), dtype=bool)
        self._closer: list[int] = []
        for index, check in enumerate(self._checks):
            if check is None:
                continue
            self._low[index], self._high[index] = _bounds(check, self._low.dtype)
            self._nullable[index] = check.rule.null
            if check.rule.type != "double" or check.allowed is not None:
                self._closer.append(index)

    def plainly_good(self, matrix: npt.NDArray[np.floating[Any]]) -> Mask:
        """Which values surely pass, [rows, features]; the others need a closer look."""
        good: Mask = (matrix >= self._low) & (matrix <= self._high)
        if not good.all():
            good |= np.isnan(matrix) & self._nullable
        for index in self._closer:
            check = self._checks[index]
            assert check is not None
            good[:, index] &= plainly_good(check, _as_typed(check, matrix[:, index]))
        return good

    def check(self, matrix: npt.NDArray[np.floating[Any]]) -> list[Found]:
        """``(row, problem)`` for every broken rule, by row and then by column; NaN is missing.

        Args:
            matrix: [rows, features].
        """
        good = self.plainly_good(matrix)
        if good.all():
            return []
        found: list[Found] = []
        for row, index in np.argwhere(~good).tolist():
            check = self._checks[index]
            column = matrix[row : row + 1, index]
            if check is None:
                found.append((row, finite_problem(self._features[index], column[0].item())))
            else:
                found.extend((row, problem) for problem in check(plain_value(_as_typed(check, column)[0])))
        return found


def plainly_good(check: ColumnCheck, values: Array) -> Mask:
    """Which of ``values`` (numbers or booleans) surely pass; the others need a closer look.

    Args:
        values: An array [rows].
    """
    kind, rule = values.dtype.kind, check.rule
    numeric = rule.type in ("double", "bigint") and kind in "iuf"
    if not numeric and not (rule.type == "boolean" and kind == "b"):
        return np.zeros(len(values), dtype=bool)
    low, high = _bounds(check, values.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        good: Mask = (values >= low) & (values <= high) if numeric else np.ones(len(values), dtype=bool)
        if rule.type == "bigint":
            good &= (values >= -_INT64) & (values < _INT64)
            if kind == "f":
                good &= values == np.floor(values)
        if check.allowed is not None:
            # Integers are compared as float64; beyond its exact ones two could look the same.
            exact = all(not isinstance(item, int) or abs(item) < _FLOAT_EXACT for item in check.allowed)
            allowed = np.array(list(check.allowed), dtype=values.dtype if kind == "f" else None)
            good &= np.isin(values, allowed) if exact else np.zeros(len(values), dtype=bool)
    if kind == "f" and rule.null:
        good |= np.isnan(values)
    return good


def _judged(check: ColumnCheck, values: Array) -> list[Found]:
    if values.dtype.kind in "biuf":
        suspects = np.flatnonzero(~plainly_good(check, values))
        return [(int(row), problem) for row in suspects for problem in check(plain_value(values[row]))]
    if values.dtype.kind == "M":
        values = values.astype("datetime64[us]")
    good: set[tuple[type, Any]] = set()
    found: list[Found] = []
    for row, item in enumerate(values.tolist()):
        value = plain_value(item)
        try:
            if (type(value), value) in good:
                continue
            problems = check(value)
            if not problems:
                good.add((type(value), value))
        except TypeError:  # a list or an object has no hash, and is no value either
            problems = check(value)
        found.extend((row, problem) for problem in problems)
    return found


def _bounds(check: ColumnCheck, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """The finite bounds of a number, in the precision of the values; integers are compared as float64."""
    wanted = np.finfo(dtype if dtype.kind == "f" else np.float64)
    low, high = (
        bound if isinstance(bound, float) else default
        for bound, default in ((check.min, wanted.min), (check.max, wanted.max))
    )
    return wanted.dtype.type(max(low, wanted.min)), wanted.dtype.type(min(high, wanted.max))


def _as_typed(check: ColumnCheck, column: Array) -> Array:
    """Zeros and ones of a boolean column as booleans, so that the row's check knows them."""
    if check.rule.type != "boolean":
        return column
    if ((column == 0) | (column == 1)).all():
        return column.astype(bool)
    typed = column.astype(object)
    typed[column == 0], typed[column == 1] = False, True
    return typed


def plain_value(value: Any) -> Any:
    """A Python value; NaN and NaT are ``None``."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and value != value else value
