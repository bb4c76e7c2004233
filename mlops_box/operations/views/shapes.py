"""Small histograms of a column, reference against window, from the counts that monitoring keeps.

The counts lie between the reference's own percentiles, where every bin holds as much as the next; a picture needs bins
of equal width.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlops_box.box import Box
from mlops_box.errors import BoxError
from mlops_box.models.values import REFERENCE_FILE
from mlops_box.operations.views.reading import mapping, numbers

BARS = 12
_DIGEST = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True)
class Shape:
    """Shares of rows per bar, reference and window; ``labels`` names the bars of a categorical column."""

    reference: tuple[float, ...]
    window: tuple[float, ...]
    low: float | None = None
    high: float | None = None
    labels: tuple[str, ...] = ()


def read_shapes(box: Box, model: str, number: int, summary: dict[str, Any]) -> dict[str, Shape]:
    """Column to shape; empty where the reference or the window's counts are not at hand."""
    row = box.db.one("SELECT manifest FROM versions WHERE model = ? AND number = ?", (model, number))
    files = mapping(row["manifest"]).get("files") if row else None
    digest = files.get(REFERENCE_FILE) if isinstance(files, dict) else None
    reference, window = _object(box, digest), _counts(box, summary)
    columns, counts = reference.get("columns"), window.get("columns")
    if not isinstance(columns, list):
        return {}
    counted = counts if isinstance(counts, list) and len(counts) == len(columns) else [{}] * len(columns)
    shapes: dict[str, Shape] = {}
    for column, count in zip(columns, counted, strict=True):
        if isinstance(column, dict) and isinstance(count, dict):
            shape = (
                _categories(column, count) if column.get("kind") == "categorical" else _values(column, count)
            )
            if shape is not None:
                shapes[str(column.get("name"))] = shape
    return shapes


def equal_width(
    edges: Sequence[float], counts: Sequence[float], low: float, high: float, bars: int
) -> list[float]:
    """Spread right-closed bins evenly over bars of equal width between ``low`` and ``high``.

    What lies outside goes to the first and the last bar.

    >>> equal_width([0.0, 1.0, 2.0], [0, 4, 4, 0], 0.0, 2.0, 4)
    [2.0, 2.0, 2.0, 2.0]
    """
    heights = [0.0] * bars
    width = (high - low) / bars
    heights[0] += counts[0]
    heights[-1] += counts[-1]
    for left, right, count in zip(edges[:-1], edges[1:], counts[1:-1], strict=True):
        first = min(bars - 1, max(0, int((left - low) / width)))
        last = min(bars - 1, max(0, int((right - low) / width)))
        if first == last or right <= left:
            heights[last] += count
            continue
        for bar in range(first, last + 1):
            start, end = low + bar * width, low + (bar + 1) * width
            share = (min(right, end if bar < last else right) - max(left, start if bar > first else left)) / (
                right - left
            )
            heights[bar] += count * max(0.0, share)
    return heights


def _values(column: dict[str, Any], count: dict[str, Any]) -> Shape | None:
    edges, counts = numbers(column.get("edges")), numbers(column.get("counts"))
    if len(edges) < 2 or len(counts) != len(edges) + 1:
        return None
    low, high = edges[0], edges[-1]
    if not high > low:
        return None
    now = numbers(count.get("counts"))
    # A column of a few distinct values has an edge at each: one bar a value.
    bars = min(BARS, len(edges) - 1) if column.get("discrete") else BARS
    return Shape(
        _shares(equal_width(edges, counts, low, high, bars)),
        _shares(equal_width(edges, now, low, high, bars)) if len(now) == len(counts) else (),
        low,
        high,
    )


def _categories(column: dict[str, Any], count: dict[str, Any]) -> Shape | None:
    counts, now = numbers(column.get("counts")), numbers(count.get("counts"))
    names = [str(value) for value in column.get("values") or ()]
    if not counts or len(names) != len(counts):
        return None
    kept = BARS - 1
    heights = [*counts[:kept], sum(counts[kept:]) + float(column.get("rest") or 0)]
    window: list[float] = []
    if len(now) == len(counts):
        window = [*now[:kept], sum(now[kept:]) + float(count.get("unlisted") or 0)]
    return Shape(_shares(heights), _shares(window), labels=(*names[:kept], "(others)"))


def _shares(heights: Sequence[float]) -> tuple[float, ...]:
    total = sum(heights)
    return tuple(height / total for height in heights) if total > 0 else ()


def _counts(box: Box, summary: dict[str, Any]) -> dict[str, Any]:
    for name in ("counts", "counts_digest"):
        held = summary.get(name)
        if isinstance(held, dict):
            return held
        if isinstance(held, str):
            return _object(box, held)
    return {}


def _object(box: Box, digest: Any) -> dict[str, Any]:
    if not isinstance(digest, str) or not _DIGEST.match(digest):
        return {}
    try:
        return mapping(box.objects.read(digest).decode())
    except (BoxError, OSError, UnicodeDecodeError, json.JSONDecodeError):
        # `mlops-box verify` names damaged objects; a picture that cannot be drawn is left out.
        return {}
