"""Metrics on parts of the held-out rows: an overall number hides where a model fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_box.evaluation.metrics import Answer, compute_metrics
from mlops_box.models.encode import category_text
from mlops_box.models.runtime import Output
from mlops_box.project import Task

MAX_PLAIN_NUMBERS = 12
MAX_CATEGORIES = 20
QUANTILES = 5
MISSING = "missing"
OTHER = "all others"


@dataclass(frozen=True)
class Slice:
    """The rows where column ``by`` is (or lies in) ``value``, and the metrics on them."""

    by: str
    value: str
    rows: int
    metrics: dict[str, float]


def slice_by(
    table: pa.Table,
    by: str,
    task: Task,
    *,
    truth: np.ndarray[Any, Any],
    output: Answer,
    classes: Sequence[str | int | bool] | None,
) -> tuple[Slice, ...]:
    """Metrics for each part of ``table`` by one column.

    Texts, booleans and numbers with at most 12 values are taken as they are (the 20 most frequent values, the rest
    together); other numbers and times are cut at their quintiles.
    """
    labels, order = slice_labels(table.column(by))
    slices = []
    for value in order:
        mask = labels == value
        metrics = compute_metrics(task, truth=truth[mask], output=_part(output, mask), classes=classes)
        slices.append(Slice(by, value, int(mask.sum()), metrics))
    return tuple(slices)


def slice_labels(column: pa.ChunkedArray) -> tuple[np.ndarray[Any, Any], list[str]]:
    """(the label of each row, the labels in the order to show them)."""
    kind = column.type
    if pa.types.is_temporal(kind):
        return _quantiles(column, times=True)
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if numeric:
        return (
            _quantiles(column)
            if len(pc.unique(column)) > MAX_PLAIN_NUMBERS
            else _values(column, by_value=True)
        )
    return _values(column, by_value=False)


def _values(column: pa.ChunkedArray, *, by_value: bool) -> tuple[np.ndarray[Any, Any], list[str]]:
    raw = column.to_pylist()
    labels = np.array([category_text(value) or MISSING for value in raw], dtype=object)
    names, counts = np.unique(labels.astype(str), return_counts=True)
    kept = [str(name) for name in names[np.argsort(-counts, kind="stable")][:MAX_CATEGORIES]]
    if len(names) > len(kept):
        labels = np.where(np.isin(labels.astype(str), kept), labels, OTHER)
        kept.append(OTHER)
    if by_value:
        kept.sort(key=lambda name: (name == MISSING, float(name) if name != MISSING else 0.0))
    return labels.astype(str), kept


def _quantiles(column: pa.ChunkedArray, *, times: bool = False) -> tuple[np.ndarray[Any, Any], list[str]]:
    if times:
        values = pc.cast(pc.cast(column, pa.timestamp("us")), pa.int64()).cast(pa.float64(), safe=False)
    else:
        values = pc.cast(column, pa.float64(), safe=False)
    numbers = values.to_numpy()
    known = np.isfinite(numbers)
    labels = np.full(len(numbers), MISSING, dtype=object)
    order: list[str] = []
    if known.any():
        edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, QUANTILES + 1)))
        places = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, max(len(edges) - 2, 0))
        for place in range(max(len(edges) - 1, 1)):
            low, high = edges[place], edges[min(place + 1, len(edges) - 1)]
            name = f"{_edge(low, times)} to {_edge(high, times)}"
            inside = known & (places == place)
            if inside.any():
                labels[inside] = name
                order.append(name)
    if not known.all():
        order.append(MISSING)
    return labels.astype(str), order


def _edge(value: float, times: bool) -> str:
    if not times:
        return f"{value:.6g}"
    return str(np.datetime64(int(value), "us").astype("datetime64[m]")).replace("T", " ")


def _part(output: Answer, mask: np.ndarray[Any, Any]) -> Output:
    def take(values: Any) -> Any:
        return None if values is None else values[mask]

    return Output(take(output.prediction), take(output.label), take(output.probability))
