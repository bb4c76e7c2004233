"""Broken sensors, named as that: silent, stuck, spiking, or in another unit. Such a column's values are no drift.

Each says what it saw. What is only half broken (another unit in some of the rows) is not told apart from drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mlops_box.monitoring.columns import numbers
from mlops_box.monitoring.counts import ColumnCounts
from mlops_box.monitoring.reference import ColumnReference, Floats, NumericReference, Reference
from mlops_box.monitoring.values import SensorFault

_QUANTILES = 101
_SAMPLED = 20_000  # values that the shape is taken from
_FAR = 3.0  # ranges of the reference beyond it
_SPIKES = (0.001, 0.2)  # more than a fifth of the values are no spikes
_LEAST_SPIKES = 3
_SILENT, _HEARD = 0.98, 0.5
_STUCK = 0.5
_STUCK_DISCRETE = 0.9
_UNIT_BEFORE, _UNIT_AFTER = 0.5, 0.12

# Window = factor * reference + offset. (factor, offset, in words)
_UNITS: tuple[tuple[float, float, str], ...] = (
    *((factor, 0.0, f"multiplied by {factor:g}") for factor in (10.0, 60.0, 100.0, 1000.0, 3600.0, 1e6)),
    *((1 / factor, 0.0, f"divided by {factor:g}") for factor in (10.0, 60.0, 100.0, 1000.0, 3600.0, 1e6)),
    (1.609344, 0.0, "miles became kilometres"), (1 / 1.609344, 0.0, "kilometres became miles"),
    (3.6, 0.0, "m/s became km/h"), (1 / 3.6, 0.0, "km/h became m/s"),
    (2.2046226, 0.0, "kilograms became pounds"), (1 / 2.2046226, 0.0, "pounds became kilograms"),
    (3.2808399, 0.0, "metres became feet"), (0.3048, 0.0, "feet became metres"),
    (2.54, 0.0, "inches became centimetres"), (1 / 2.54, 0.0, "centimetres became inches"),
    (25.4, 0.0, "inches became millimetres"), (1 / 25.4, 0.0, "millimetres became inches"),
    (6.894757, 0.0, "psi became kPa"), (1 / 6.894757, 0.0, "kPa became psi"),
    (1.8, 32.0, "Celsius became Fahrenheit"), (1 / 1.8, -32 / 1.8, "Fahrenheit became Celsius"),
    (1.0, 273.15, "Celsius became kelvin"), (1.0, -273.15, "kelvin became Celsius"),
    (-1.0, 0.0, "the sign was turned"),
)  # fmt: skip


@dataclass(frozen=True)
class ColumnShape:
    """What counts between the reference's edges do not tell of a column of numbers.

    Attributes:
        quantiles: 0 % to 100 % in steps of 1 %.
        top: The most frequent value; ``top_share`` of the values are it.
        far: Values more than three of the reference's ranges outside it; ``far_value`` is the furthest.
    """

    values: int
    quantiles: tuple[float, ...]
    top: float
    top_share: float
    far: int = 0
    far_value: float | None = None


def shape_of(values: Floats, reference: NumericReference) -> ColumnShape | None:
    """The shape of a column's values (no NaN); ``None`` where there are none."""
    if not len(values):
        return None
    sample = values[:: max(1, len(values) // _SAMPLED)]
    distinct, counts = np.unique(sample, return_counts=True)
    top = int(counts.argmax())
    with np.errstate(invalid="ignore"):
        quantiles = np.quantile(sample, np.linspace(0, 1, _QUANTILES), method="inverted_cdf")
    far, furthest = _far(values, reference)
    return ColumnShape(
        len(values), tuple(quantiles.tolist()), float(distinct[top]), float(counts[top] / len(sample)), far, furthest
    )  # fmt: skip


def shapes_of(reference: Reference, table: pa.Table) -> dict[str, ColumnShape]:
    """The shapes of a table's columns of numbers, by name."""
    found = {}
    for column in reference.columns:
        if isinstance(column, NumericReference) and column.name in table.column_names:
            shape = shape_of(numbers(table.column(column.name), single=column.single), column)
            if shape is not None:
                found[column.name] = shape
    return found


def diagnose(
    reference: ColumnReference,
    counts: ColumnCounts,
    shape: ColumnShape | None,
    *,
    crowding: float | None = None,
) -> SensorFault | None:
    """What is broken, or ``None``.

    Args:
        reference: The column's reference, of the window's season class where that is known.
        counts: The window, counted with it.
        shape: Its shape; without it only silence is told.
        crowding: The share of a window's fullest bin that is usual; ``None`` where nothing is known of earlier windows.
    """
    rows = counts.rows + counts.nulls
    before = reference.nulls / max(reference.nulls + reference.rows, 1)
    if rows and counts.nulls >= _SILENT * rows and before < _HEARD:
        now = counts.nulls / rows
        text = f"no values: {now:.1%} of the rows have none (it was {before:.1%})"
        return SensorFault("silent", text, {"missing": now, "missing_reference": before})
    if not isinstance(reference, NumericReference) or shape is None or reference.minimum is None:
        return None
    return _stuck(reference, shape, crowding) or _spikes(reference, shape) or _unit(reference, shape)


def _stuck(reference: NumericReference, shape: ColumnShape, crowding: float | None) -> SensorFault | None:
    if reference.minimum == reference.maximum or not np.isfinite(shape.top):
        return None
    limit = _STUCK_DISCRETE if reference.discrete else _STUCK
    if shape.top_share < limit or (crowding is not None and crowding > limit / 2):
        return None
    if reference.discrete and crowding is None:
        # A column of few values, such as the season, may well hold one of them for a whole window.
        return None
    place = int(np.searchsorted(reference.edges, shape.top, side="left"))
    known = reference.counts[place] / max(reference.rows, 1)
    if known > limit / 3:
        return None
    text = f"stuck: {shape.top_share:.0%} of the values are {shape.top:g} (at most {known:.1%} were)"
    return SensorFault(
        "stuck", text, {"value": shape.top, "share": shape.top_share, "share_reference": known}
    )


def _spikes(reference: NumericReference, shape: ColumnShape) -> SensorFault | None:
    share = shape.far / shape.values
    if shape.far < _LEAST_SPIKES or not _SPIKES[0] <= share <= _SPIKES[1]:
        return None
    text = (
        f"spikes: {share:.1%} of the values, such as {shape.far_value:g}, lie far outside "
        f"{reference.minimum:g} to {reference.maximum:g}"
    )
    facts = {"share": share, "value": shape.far_value, "min": reference.minimum, "max": reference.maximum}
    return SensorFault("spikes", text, facts)


def _unit(reference: NumericReference, shape: ColumnShape) -> SensorFault | None:
    """Does a change of unit, taken back, make the window look like the reference?"""
    window = np.asarray(shape.quantiles)
    if reference.discrete and len(reference.edges) < 12:
        return None
    if not np.isfinite(window).all() or _distance(reference, window) < _UNIT_BEFORE:
        return None
    tried = [
        (_distance(reference, (window - offset) / factor), factor, offset, text)
        for factor, offset, text in _UNITS
    ]
    distance, factor, offset, text = min(tried)
    if distance > _UNIT_AFTER:
        return None
    said = f"another unit: the values look as if {text} (taken back, the KS distance is {distance:.3f})"
    return SensorFault("unit", said, {"factor": factor, "offset": offset, "distance": distance})


def _distance(reference: NumericReference, quantiles: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """The KS distance of a sample, known by its quantiles, from the reference."""
    quantiles = np.sort(quantiles)
    cumulative = np.cumsum(reference.counts)[:-1] / max(reference.rows, 1)
    edges = np.asarray(reference.edges)
    if reference.discrete:
        places = np.searchsorted(edges, quantiles, side="right") - 1
        shares = np.where(places < 0, 0.0, cumulative[np.maximum(places, 0)])
    else:
        shares = np.interp(quantiles, edges, cumulative, left=0.0, right=1.0)
    wanted = np.linspace(0, 1, len(quantiles))
    # Of equal quantiles only the last tells how much lies at or below the value.
    last = np.append(np.diff(quantiles) > 0, True)
    return float(np.abs(shares - wanted)[last].max())


def _far(values: Floats, reference: NumericReference) -> tuple[int, float | None]:
    if reference.minimum is None or reference.maximum is None or reference.maximum <= reference.minimum:
        return 0, None
    reach = _FAR * (reference.maximum - reference.minimum)
    low, high = reference.minimum - reach, reference.maximum + reach
    least, most = float(values.min()), float(values.max())
    if least >= low and most <= high:
        return 0, None
    far = int(((values < low) | (values > high)).sum())
    return far, most if most > high else least
