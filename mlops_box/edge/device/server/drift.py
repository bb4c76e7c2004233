"""``/drift``: how far each window's data lie from those of the training, as sizes; what they mean is judged on the box.

PSI by the same groups as on the box (:mod:`mlops_box.monitoring.statistics.psi`), shares of missing values, values outside
the reference's range, categories that the training did not have.
"""

from __future__ import annotations

from typing import Any

from mlops_box.monitoring.buckets import buckets
from mlops_box.monitoring.counts import CategoricalCounts, ColumnCounts, NumericCounts
from mlops_box.monitoring.reference import CategoricalReference, ColumnReference, NumericReference
from mlops_box.monitoring.statistics.psi import psi
from mlops_box.monitoring.statistics.shares import decile_groups, top_groups

from .histogram import Histograms, Seen, window_us
from .model import Served
from .moments import utc_text


def drift_page(served: Served, histograms: Histograms) -> dict[str, Any]:
    """The windows of the version that serves: those closed lately, then those being counted."""
    return {
        "model": served.model,
        "version": served.number,
        "window_seconds": window_us(served) / 1e6,
        "windows": [_window(served, seen) for seen in histograms.seen(served)],
    }


def column_psi(reference: ColumnReference, counts: ColumnCounts) -> float | None:
    """The stability index of one column; ``None`` where one side has no values."""
    if not reference.rows or not counts.rows:
        return None
    if isinstance(reference, NumericReference) and isinstance(counts, NumericCounts):
        return psi(*decile_groups(reference.counts, counts.counts))
    if isinstance(reference, CategoricalReference) and isinstance(counts, CategoricalCounts):
        return psi(*top_groups(*buckets(reference, counts)))
    return None


def _window(served: Served, seen: Seen) -> dict[str, Any]:
    columns = zip(served.reference.columns, seen.counts.columns)
    return {
        "starts_at": utc_text(seen.start_us),
        "ends_at": utc_text(seen.start_us + seen.width_us),
        "open": seen.is_open,
        "rows": seen.counts.rows,
        "columns": [_column(reference, counts) for reference, counts in columns],
    }


def _column(reference: ColumnReference, counts: ColumnCounts) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": reference.name,
        "psi": column_psi(reference, counts),
        "nulls": _share(counts.nulls, counts.nulls + counts.rows),
        "reference_nulls": _share(reference.nulls, reference.nulls + reference.rows),
    }
    if isinstance(counts, NumericCounts):
        return {
            **told,
            "below": counts.counts[0],
            "above": counts.counts[-1] if len(counts.counts) > 1 else 0,
        }
    is_new = isinstance(reference, CategoricalReference) and reference.complete
    return {**told, "new": counts.unlisted if is_new else None, "examples": list(counts.examples)}


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
