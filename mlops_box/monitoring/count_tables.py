"""A table counted with the edges and values of a reference."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_box.monitoring.columns import is_single, is_text, mostly_distinct, numbers, texts
from mlops_box.monitoring.counts import (
    EXAMPLES,
    CategoricalCounts,
    ColumnCounts,
    NumericCounts,
    WindowCounts,
)
from mlops_box.monitoring.reference import (
    CategoricalReference,
    ColumnReference,
    NumericReference,
    Reference,
    count_between,
    just_below,
    rounded,
)

_DRAWN = 20 * EXAMPLES


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
    if is_text(column.type) and mostly_distinct(column):
        return _count_distinct_texts(reference, column)
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


def _count_distinct_texts(reference: CategoricalReference, column: pa.ChunkedArray) -> CategoricalCounts:
    """The same row by row: of values that hardly come again."""
    total = len(column)
    column = column.drop_null().cast(pa.string())
    place = pc.index_in(column, value_set=pa.array(reference.values, pa.string()))
    strangers = column.filter(pc.and_(pc.is_null(place), pc.not_equal(column, ""))).combine_chunks()
    listed = np.bincount(place.drop_null().to_numpy(), minlength=len(reference.values))
    rows = int(listed.sum()) + len(strangers)
    first = pc.unique(_smallest(strangers, _DRAWN))
    if len(first) < EXAMPLES and len(strangers) > _DRAWN:
        first = pc.unique(strangers)
    examples = tuple(_first_few(first))
    return CategoricalCounts(tuple(listed.tolist()), len(strangers), examples, total - rows)


def _first_few(values: pa.Array) -> list[str]:
    """In alphabetical order (by bytes of UTF-8, which is that of code points)."""
    found: list[str] = _smallest(values, EXAMPLES).to_pylist()
    return found


def _smallest(values: pa.Array, count: int) -> pa.Array:
    table = pa.table({"value": values})
    return values.take(pc.select_k_unstable(table, k=count, sort_keys=[("value", "ascending")]))
