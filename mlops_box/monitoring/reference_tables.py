"""The reference of a table, and of the held-out rows of a model version."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from mlops_box.models.signature import Signature
from mlops_box.monitoring.columns import Counted, as_text, is_categorical, is_single, numbers, texts
from mlops_box.monitoring.reference import (
    PREDICTION,
    CategoricalReference,
    ColumnReference,
    Floats,
    NumericReference,
    Reference,
    count_between,
    just_below,
)

_BINS = 100
_MAX_VALUES = 1000
_MIN_LISTED = 10


def reference_of(table: pa.Table) -> Reference:
    """Every column of a table: texts, booleans and dictionaries as categories, the rest as numbers."""
    return Reference(table.num_rows, tuple(_reference_of(table.column(n), n) for n in table.column_names))


def build_reference(
    table: pa.Table, signature: Signature, *, predictions: np.ndarray[Any, Any] | None
) -> Reference:
    """The reference of a model version.

    Args:
        table: The rows the model should be judged against, with its features as columns.
        signature: Names and kinds of the features.
        predictions: The model's answers for these or other held-out rows. Regression: numbers [n]. Binary: the
            probability of the second class [n], or of both [n, 2]. Multiclass: probabilities [n, classes], indices into
            the classes [n] or the labels themselves [n]. ``None``: predictions will not be watched.
    """
    columns = [
        numeric_reference(feature.name, numbers(table.column(feature.name), single=True), table.num_rows, single=True)
        if feature.kind == "numeric"
        else categorical_reference(feature.name, texts(table.column(feature.name)), table.num_rows)
        for feature in signature.features
    ]  # fmt: skip
    if predictions is not None and len(predictions):
        columns.append(_prediction_reference(predictions, signature))
    return Reference(table.num_rows, tuple(columns))


def numeric_reference(name: str, values: Floats, rows: int, *, single: bool) -> NumericReference:
    """Count ``values`` (no NaN) of ``rows`` rows between their own percentiles."""
    finite = values[np.isfinite(values)]
    # No edge can stand at infinity: infinite values count as missing in the reference.
    nulls = rows - len(finite)
    if not len(finite):
        return NumericReference(name, (), (0,), nulls, None, None, None, None, True, single)
    distinct = np.unique(finite)
    discrete = len(distinct) <= _BINS
    tops = distinct if discrete else np.unique(
        np.quantile(finite, np.linspace(0, 1, _BINS + 1)[1:], method="inverted_cdf")
    )  # fmt: skip
    edges = np.concatenate([[just_below(distinct[0], single=single)], tops])
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = _finite(float(finite.mean())), _finite(float(finite.std()))
    return NumericReference(
        name,
        tuple(edges.tolist()),
        count_between(finite, edges),
        nulls,
        float(distinct[0]),
        float(distinct[-1]),
        mean,
        std,
        discrete,
        single,
    )


def categorical_reference(name: str, counted: Counted, rows: int) -> CategoricalReference:
    """Keep the counts of the most frequent values of a column of ``rows`` rows."""
    complete = len(counted.counts) <= _MAX_VALUES
    # Of too many values only frequent ones are listed: the counts of the rest are mostly luck.
    likely = np.flatnonzero(counted.counts >= (1 if complete else _MIN_LISTED))
    values = counted.values.take(pa.array(likely)).to_pylist()
    ordered = sorted(
        zip(values, counted.counts[likely].tolist(), strict=True), key=lambda item: (-item[1], item[0])
    )[:_MAX_VALUES]
    listed = sum(count for _, count in ordered)
    return CategoricalReference(
        name,
        tuple(value for value, _ in ordered),
        tuple(count for _, count in ordered),
        counted.rows - listed,
        int((counted.counts == 1).sum()),
        rows - counted.rows,
        complete,
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _reference_of(column: pa.ChunkedArray, name: str) -> ColumnReference:
    if is_categorical(column.type):
        return categorical_reference(name, texts(column), len(column))
    single = is_single(column.type)
    return numeric_reference(name, numbers(column, single=single), len(column), single=single)


def _prediction_reference(predictions: np.ndarray[Any, Any], signature: Signature) -> ColumnReference:
    if signature.task == "multiclass":
        labels = predictions.argmax(axis=1) if predictions.ndim == 2 else predictions
        classes = signature.classes or ()
        if np.issubdtype(labels.dtype, np.integer) and classes:
            labels = np.array([as_text(classes[int(index)]) for index in labels], dtype=object)
        return categorical_reference(
            PREDICTION, texts(pa.chunked_array([pa.array(labels.tolist())])), len(labels)
        )
    values = predictions[:, -1] if predictions.ndim == 2 else predictions
    column = pa.chunked_array([pa.array(values.astype(np.float64))])
    return numeric_reference(PREDICTION, numbers(column, single=True), len(values), single=True)
