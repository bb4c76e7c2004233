"""Window counts from a whylogs profile alone, where the rows are gone or never came (a device, an old archive)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlops_box.monitoring.columns import as_text
from mlops_box.monitoring.counts import CategoricalCounts, ColumnCounts, NumericCounts, WindowCounts
from mlops_box.monitoring.profile import read_profile
from mlops_box.monitoring.reference import (
    CategoricalReference,
    ColumnReference,
    NumericReference,
    Reference,
)

# Normalised rank error of a KLL sketch with k = 1024 at 99 % confidence; exact while fewer than k values were seen
# (Karnin, Lang, Liberty 2016, FOCS; the constant is that of Apache DataSketches).
RANK_ERROR = 0.0027
_KLL_K = 1024


def counts_from_profile(reference: Reference, profile: bytes) -> WindowCounts:
    """The counts that a window would have had between the reference's edges, with the sketch's error declared.

    Args:
        profile: From :func:`mlops_box.monitoring.profile.profile_table` or ``merge_profiles``.

    Raises:
        IntegrityError: The bytes are no profile.
    """
    views = read_profile(profile).get_columns()
    rows = max((view.get_metric("counts").n.value for view in views.values()), default=0)
    columns: list[ColumnCounts] = [
        _column_counts(column, views.get(column.name), rows) for column in reference.columns
    ]
    return WindowCounts(rows, tuple(columns))


def _column_counts(reference: ColumnReference, view: Any, rows: int) -> ColumnCounts:
    if isinstance(reference, NumericReference):
        return _numeric_counts(reference, view, rows)
    return _categorical_counts(reference, view, rows)


def _numeric_counts(reference: NumericReference, view: Any, rows: int) -> NumericCounts:
    distribution = view.get_metric("distribution") if view is not None else None
    values = int(distribution.n) if distribution is not None else 0
    if distribution is None or not values or not reference.edges:
        return NumericCounts((0,) * (len(reference.edges) + 1), rows)
    # This sketch counts what is strictly below a point.
    edges = np.nextafter(np.asarray(reference.edges), np.inf)
    below = np.rint(np.array(distribution.kll.value.get_cdf(edges.tolist())) * values)
    counts = np.diff(below, prepend=0.0).astype(int)
    return NumericCounts(tuple(counts.tolist()), rows - values, RANK_ERROR if values > _KLL_K else 0.0)


def _categorical_counts(reference: CategoricalReference, view: Any, rows: int) -> CategoricalCounts:
    items = view.get_metric("frequent_items") if view is not None else None
    counted: dict[str, int] = {}
    for item in items.strings if items is not None else []:
        text = {"True": "true", "False": "false"}.get(item.value, as_text(item.value))
        counted[text] = counted.get(text, 0) + item.est
    counted.pop("", None)
    metric = view.get_metric("counts") if view is not None else None
    values = min(metric.n.value - metric.null.value, rows) if metric is not None else 0
    listed = tuple(counted.get(value, 0) for value in reference.values)
    strangers = sorted(set(counted) - set(reference.values))
    return CategoricalCounts(listed, max(0, values - sum(listed)), tuple(strangers[:5]), rows - values)
