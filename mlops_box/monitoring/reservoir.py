"""A few thousand rows kept whole: what profiles and counts of single columns cannot show is how columns go together."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from mlops_box.errors import IntegrityError
from mlops_box.monitoring.baseline import window_places
from mlops_box.monitoring.season import MIN_WINDOWS

ROWS = 2000  # of a window
ROWS_REFERENCE = 4000
GROUP = "(window)"  # the reference's rows by the window they come from, where enough windows have rows
_GROUPS = 27
_ROWS_OF_GROUP = 150
_LEAST_OF_GROUP = 100


def draw_rows(table: pa.Table, rows: int = ROWS, *, seed: int = 0) -> pa.Table:
    """At most ``rows`` rows, each as likely as the next, in their order."""
    if table.num_rows <= rows:
        return table
    chosen = np.sort(np.random.default_rng(seed).choice(table.num_rows, rows, replace=False))
    return table.take(pa.array(chosen))


def draw_reference(
    table: pa.Table, *, times: pa.ChunkedArray | None = None, width: timedelta | None = None, seed: int = 0
) -> pa.Table:
    """Rows of a reference: by window where at least fifteen windows have a hundred rows, by chance otherwise.

    Args:
        times: The event time of each row.
        width: Length of a window.
    """
    if times is not None and width is not None:
        places = window_places(times, width)
        values, counts = np.unique(places, return_counts=True)
        whole = values[(counts >= _LEAST_OF_GROUP) & (values >= 0)]
        if len(whole) >= MIN_WINDOWS:
            return _by_window(table, places, whole, seed)
    return draw_rows(table, ROWS_REFERENCE, seed=seed)


def rows_to_bytes(table: pa.Table) -> bytes:
    """Parquet."""
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def rows_from_bytes(data: bytes) -> pa.Table:
    """The inverse of :func:`rows_to_bytes`.

    Raises:
        IntegrityError: The bytes are no table.
    """
    import pyarrow.parquet as pq

    try:
        return pq.read_table(pa.BufferReader(data))
    except pa.ArrowException as error:
        raise IntegrityError(
            f"these {len(data)} bytes are no rows: {error}", hint="run mlops-box verify"
        ) from error


def _by_window(
    table: pa.Table, places: np.ndarray[Any, Any], whole: np.ndarray[Any, Any], seed: int
) -> pa.Table:
    """Windows spread evenly over time, and as many rows of each."""
    rng = np.random.default_rng(seed)
    if len(whole) > _GROUPS:
        whole = whole[np.linspace(0, len(whole) - 1, _GROUPS).astype(int)]
    chosen: list[np.ndarray[Any, Any]] = []
    for place in whole:
        index = np.flatnonzero(places == place)
        count = min(_ROWS_OF_GROUP, len(index))
        chosen.append(np.sort(rng.choice(index, count, replace=False)))
    groups = np.repeat(np.arange(len(chosen)), [len(index) for index in chosen])
    return table.take(pa.array(np.concatenate(chosen))).append_column(GROUP, pa.array(groups))
