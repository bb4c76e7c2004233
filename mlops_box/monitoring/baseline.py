"""How much windows differed before anything was wrong: the training rows, cut into windows as live traffic will be.

Stored with a version as Parquet: one row a window, its counts between the reference's edges.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_box.errors import IntegrityError
from mlops_box.monitoring.count_tables import count_window
from mlops_box.monitoring.history import ColumnHistory
from mlops_box.monitoring.reference import Reference

FORMAT = 1
MAX_WINDOWS = 1000  # the newest ones
MIN_ROWS = 20
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Baseline:
    """Earlier windows of one length.

    Attributes:
        starts: When each began, oldest first.
        rows: Rows of each.
        columns: One history per column of the reference, in its order.
    """

    width: timedelta
    starts: tuple[datetime, ...]
    rows: tuple[int, ...]
    columns: tuple[ColumnHistory, ...]

    def __len__(self) -> int:
        return len(self.starts)

    def to_bytes(self) -> bytes:
        """Parquet; the same windows give the same bytes."""
        import pyarrow.parquet as pq

        fields: dict[str, Any] = {
            "start": pa.array([(start - _EPOCH) // _MICROSECOND for start in self.starts], pa.int64()),
            "rows": pa.array(self.rows, pa.int64()),
        }
        for place, column in enumerate(self.columns):
            flat = pa.array(column.counts.ravel(), pa.int64())
            fields[f"counts{place}"] = pa.FixedSizeListArray.from_arrays(flat, column.counts.shape[1])
            fields[f"nulls{place}"] = pa.array(column.nulls, pa.int64())
        facts = {"format": FORMAT, "width_us": self.width // _MICROSECOND, "columns": len(self.columns)}
        table = pa.table(fields).replace_schema_metadata({"baseline": json.dumps(facts, sort_keys=True)})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        return bytes(sink.getvalue())

    @staticmethod
    def from_bytes(data: bytes) -> Baseline:
        """The inverse of :meth:`to_bytes`.

        Raises:
            IntegrityError: The bytes are no baseline, or one of a newer program.
        """
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(pa.BufferReader(data))
            facts = json.loads((table.schema.metadata or {})[b"baseline"])
            if facts["format"] != FORMAT:
                raise IntegrityError(
                    f"the baseline has format {facts['format']}, this program reads {FORMAT}",
                    hint="upgrade mlops-box",
                )
            columns = [_history(table, place) for place in range(facts["columns"])]
            starts = tuple(_EPOCH + start * _MICROSECOND for start in table["start"].to_pylist())
            width = facts["width_us"] * _MICROSECOND
            return Baseline(width, starts, tuple(table["rows"].to_pylist()), tuple(columns))
        except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
            raise IntegrityError(
                f"these {len(data)} bytes are no baseline: {error}", hint="run mlops-box verify"
            ) from error


def cut_baseline(
    reference: Reference,
    parts: Sequence[tuple[pa.Table, str]],
    width: timedelta,
    *,
    min_rows: int = MIN_ROWS,
) -> Baseline:
    """Cut tables into windows and count each.

    Args:
        reference: Whose edges and columns.
        parts: (table, name of its column of event times); a table counts in the columns of the reference that it has, so
            features and predictions may come from different rows.
        width: Length of a window; windows are aligned to multiples of it since 1970.
        min_rows: Windows with fewer rows are left out.
    """
    counted: dict[int, dict[str, Any]] = {}
    rows: dict[int, int] = {}
    for table, time in parts:
        columns = tuple(column for column in reference.columns if column.name in table.column_names)
        yardstick = Reference(reference.rows, columns)
        for place, window in _windows(table, time, width, min_rows):
            counts = count_window(yardstick, window).columns
            counted.setdefault(place, {}).update(zip(yardstick.names, counts, strict=True))
            rows[place] = max(rows.get(place, 0), window.num_rows)
    places = sorted(counted)[-MAX_WINDOWS:]
    empty = count_window(reference, pa.table({}))
    histories = [
        ColumnHistory.of([counted[place].get(column.name, blank) for place in places])
        if places
        else ColumnHistory(np.zeros((0, _bins(blank)), dtype=np.int64), np.zeros(0, dtype=np.int64))
        for column, blank in zip(reference.columns, empty.columns, strict=True)
    ]
    starts = tuple(_EPOCH + place * width for place in places)
    return Baseline(width, starts, tuple(rows[place] for place in places), tuple(histories))


def window_places(times: pa.ChunkedArray, width: timedelta) -> np.ndarray[Any, np.dtype[np.int64]]:
    """[rows]: which multiple of ``width`` since 1970 each time lies in; -1 where it is missing. Naive times are UTC."""
    moments = times.cast(pa.timestamp("us", getattr(times.type, "tz", None)), safe=False).cast(pa.int64())
    found: np.ndarray[Any, np.dtype[np.int64]] = pc.fill_null(moments, np.iinfo(np.int64).min).to_numpy()
    return np.where(found == np.iinfo(np.int64).min, -1, found // (width // _MICROSECOND))


def first_start(times: pa.ChunkedArray, width: timedelta) -> datetime | None:
    """When the window began that holds the earliest of these times."""
    places = window_places(times, width)
    known = places[places >= 0]
    return _EPOCH + int(known.min()) * width if len(known) else None


def _windows(table: pa.Table, time: str, width: timedelta, min_rows: int) -> list[tuple[int, pa.Table]]:
    """(place, rows) of every window with enough rows, oldest first, at most the newest ``MAX_WINDOWS``."""
    places = window_places(table.column(time), width)
    values, counts = np.unique(places, return_counts=True)
    kept = values[(counts >= min_rows) & (values >= 0)][-MAX_WINDOWS:]
    order = np.flatnonzero(np.isin(places, kept))
    order = order[np.argsort(places[order], kind="stable")]
    ordered, sorted_places = table.take(pa.array(order)), places[order]
    edges = np.searchsorted(sorted_places, kept).tolist() + [len(sorted_places)]
    return [
        (int(place), ordered.slice(start, stop - start))
        for place, start, stop in zip(kept.tolist(), edges[:-1], edges[1:], strict=True)
    ]


def _bins(blank: Any) -> int:
    return len(blank.counts) + (1 if hasattr(blank, "unlisted") else 0)


def _history(table: pa.Table, place: int) -> ColumnHistory:
    column = table[f"counts{place}"].combine_chunks()
    width = column.type.list_size
    values = column.values.to_numpy() if len(column) else np.zeros(0, dtype=np.int64)
    return ColumnHistory(values.reshape(-1, width), table[f"nulls{place}"].to_numpy())
