"""A table counted with the edges and values of a reference."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_box.monitoring.columns import is_single, numbers, texts
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
        pc.select_k_unstable(table, k=EXAMPLES, sort_keys=[("value", "ascending")])
    ).to_pylist()
    return found
