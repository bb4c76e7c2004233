"""A window counted with the edges and values of a reference. Counts of two windows merge by addition, exactly."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_box.monitoring.columns import is_single, numbers, rounded, texts
from mlops_box.monitoring.reference import (
    CategoricalReference,
    ColumnReference,
    NumericReference,
    Reference,
    count_between,
    just_below,
)

_EXAMPLES = 5


@dataclass(frozen=True)
class NumericCounts:
    """Counts in the bins of a :class:`NumericReference`.

    Attributes:
        rank_error: How far a sketch may have moved any cumulative share; 0 when counted.
    """

    counts: tuple[int, ...]
    nulls: int
    rank_error: float = 0.0

    @property
    def rows(self) -> int:
        return sum(self.counts)

    def merge(self, other: NumericCounts) -> NumericCounts:
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return NumericCounts(counts, self.nulls + other.nulls, max(self.rank_error, other.rank_error))


@dataclass(frozen=True)
class CategoricalCounts:
    """Counts of the values of a :class:`CategoricalReference`, in its order.

    Attributes:
        unlisted: Rows with another value.
        examples: The first few of those values in alphabetical order.
    """

    counts: tuple[int, ...]
    unlisted: int
    examples: tuple[str, ...]
    nulls: int

    @property
    def rows(self) -> int:
        return sum(self.counts) + self.unlisted

    def merge(self, other: CategoricalCounts) -> CategoricalCounts:
        return CategoricalCounts(
            tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
            self.unlisted + other.unlisted,
            # The smallest few of a union are among the smallest few of its parts: this merges exactly too.
            tuple(sorted({*self.examples, *other.examples})[:_EXAMPLES]),
            self.nulls + other.nulls,
        )


ColumnCounts = NumericCounts | CategoricalCounts


@dataclass(frozen=True)
class WindowCounts:
    """One entry per column of the reference, in its order."""

    rows: int
    columns: tuple[ColumnCounts, ...]

    def merge(self, other: WindowCounts) -> WindowCounts:
        """As if both windows had been counted as one."""
        pairs = zip(self.columns, other.columns, strict=True)
        merged = [_merged(mine, theirs) for mine, theirs in pairs]
        return WindowCounts(self.rows + other.rows, tuple(merged))

    def to_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "columns": [asdict(column) for column in self.columns]}

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> WindowCounts:
        return WindowCounts(raw["rows"], tuple(_column_from(item) for item in raw["columns"]))


def _merged(mine: ColumnCounts, theirs: ColumnCounts) -> ColumnCounts:
    match mine, theirs:
        case NumericCounts(), NumericCounts():
            return mine.merge(theirs)
        case CategoricalCounts(), CategoricalCounts():
            return mine.merge(theirs)
        case _:
            raise ValueError("these windows were counted with different references")


def count_window(reference: Reference, table: pa.Table) -> WindowCounts:
    """Count a table; a column that it lacks counts as missing in every row."""
    columns = tuple(_count_column(column, table) for column in reference.columns)
    return WindowCounts(table.num_rows, columns)


def _count_column(reference: ColumnReference, table: pa.Table) -> ColumnCounts:
    column = (
        table.column(reference.name)
        if reference.name in table.column_names
        else pa.chunked_array([pa.nulls(table.num_rows)])
    )
    if isinstance(reference, CategoricalReference):
        return _count_texts(reference, column)
    return _count_numbers(reference, column)


def _count_numbers(reference: NumericReference, column: pa.ChunkedArray) -> NumericCounts:
    values = numbers(column, single=reference.single)
    edges = np.asarray(reference.edges, dtype=np.float64)
    if is_single(column.type) and not reference.single and reference.minimum is not None:
        # The window was rounded, the reference was not: round its edges alike, or equal values fall apart.
        edges = rounded(edges)
        edges[0] = just_below(rounded(np.array([reference.minimum]))[0], single=True)
    return NumericCounts(count_between(values, edges), len(column) - len(values))


def _count_texts(reference: CategoricalReference, column: pa.ChunkedArray) -> CategoricalCounts:
    counted = texts(column)
    place = pc.index_in(counted.values, value_set=pa.array(reference.values, pa.string()))
    known = place.is_valid().to_numpy(zero_copy_only=False)
    listed = np.zeros(len(reference.values), dtype=np.int64)
    listed[place.drop_null().to_numpy()] = counted.counts[known]
    strangers = counted.values.filter(pa.array(~known))
    return CategoricalCounts(
        tuple(listed.tolist()),
        int(counted.counts[~known].sum()),
        tuple(_first_few(strangers)),
        len(column) - counted.rows,
    )


def _first_few(values: pa.Array) -> list[str]:
    """In alphabetical order (by bytes of UTF-8, which is that of code points)."""
    table = pa.table({"value": values})
    found: list[str] = values.take(
        pc.select_k_unstable(table, k=_EXAMPLES, sort_keys=[("value", "ascending")])
    ).to_pylist()
    return found


def _column_from(item: dict[str, Any]) -> ColumnCounts:
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in item.items()
    }
    return CategoricalCounts(**fields) if "unlisted" in fields else NumericCounts(**fields)
