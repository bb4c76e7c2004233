"""Rows that no window can see because a device could not keep them: what stands for them is what the device counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from mlops_box.box import Box
from mlops_box.models.values import ModelVersion
from mlops_box.monitoring.windows import window_start
from mlops_box.operations.monitor_reference import References

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_box.monitoring.counts import WindowCounts

_FEATURE = "feature:"
Place = tuple[int, datetime]


@dataclass(frozen=True)
class Unseen:
    """By version and window: counts of the watched columns, of rows that did not come.

    Attributes:
        revised: Windows whose unseen rows have changed, because rows that were counted came now.
    """

    counts: dict[Place, list[WindowCounts]]
    revised: frozenset[Place]

    def of(self, number: int, starts_at: datetime) -> Sequence[WindowCounts]:
        return self.counts.get((number, starts_at), [])


def read_unseen(
    box: Box,
    model: str,
    span: tuple[datetime, datetime],
    width: timedelta,
    references: References,
    versions: Callable[[int], ModelVersion],
    fresh_ids: Sequence[str],
) -> Unseen:
    """What devices counted of the windows of a span, less the rows that came.

    Args:
        span: From the beginning of a window to the end of one.
        fresh_ids: Predictions that came now, or whose truth did.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from mlops_box.monitoring.device_windows import by_window

    windows = by_window(box.windows.devices.between(model, *span))
    if not windows:
        return Unseen({}, frozenset())
    # A corrected clock may have moved a row over the edge of its window, by the tolerance of the correction.
    start = min(window.falls_at for window, _ in windows) - width
    end = max(window.falls_until for window, _ in windows) + width
    rows = box.predictions.predictions(model, start=start, end=end)
    fresh = pc.is_in(rows["id"], value_set=pa.array(fresh_ids, pa.string()))
    rows = rows.append_column("fresh", fresh)
    counts: dict[Place, list[WindowCounts]] = {}
    revised = set()
    for window, counted in windows:
        place = (window.number, window_start(window.falls_at, width))
        came = window.of(rows)
        if pc.any(came["fresh"]).as_py():
            revised.add(place)
        found = _missing(counted, came, versions(window.number), references)
        if found is not None:
            counts.setdefault(place, []).append(found)
    return Unseen(counts, frozenset(revised))


def _missing(
    counted: WindowCounts, came: pa.Table, version: ModelVersion, references: References
) -> WindowCounts | None:
    import pyarrow.compute as pc

    from mlops_box.monitoring.count_tables import count_window
    from mlops_box.monitoring.device_windows import missing_counts

    if came.num_rows >= counted.rows:
        return None
    logged = came.filter(pc.fill_null(came["sampled"], True))
    here = count_window(references.whole(version), reference_columns(logged, version))
    found = missing_counts(counted, here, came.num_rows)
    return references.watched(version, found) if found is not None else None


def reference_columns(rows: pa.Table, version: ModelVersion, *, without: Sequence[str] = ()) -> pa.Table:
    """Sealed predictions under the names that the reference uses."""
    import pyarrow as pa

    from mlops_box.monitoring.reference import PREDICTION

    columns: dict[str, Any] = {
        feature.name: rows[_FEATURE + feature.name]
        for feature in version.signature.features
        if _FEATURE + feature.name in rows.column_names and feature.name not in without
    }
    columns[PREDICTION] = rows["label" if version.task == "multiclass" else "prediction"]
    return pa.table(columns)
