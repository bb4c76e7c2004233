"""What the data looked like when the model was trained: the yardstick of every later window.

Numbers are kept as counts between fixed edges (the reference's own percentiles), texts as counts of each value. A
window is counted between the same edges, so two windows merge by addition, exactly, and no sketch error enters the
comparison. The counts of a million rows are a few kilobytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mlops_box.canonical import canonical_json
from mlops_box.errors import IntegrityError
from mlops_box.models.values import Signature
from mlops_box.monitoring.columns import Counted, Floats, as_text, is_categorical, is_single, numbers, texts

FORMAT = 1
PREDICTION = "(prediction)"  # no feature of a project can have this name and a window's table too
_BINS = 100
_MAX_VALUES = 1000
_MIN_LISTED = 10


@dataclass(frozen=True)
class NumericReference:
    """Counts of ``(-inf, edges[0]]``, ``(edges[0], edges[1]]``, ..., ``(edges[-1], inf)``.

    ``edges[0]`` lies just below the smallest value and ``edges[-1]`` is the largest, so the outer bins are empty here
    and count, in a window, what lies outside the reference's range.

    Attributes:
        discrete: Every distinct value has an edge, so that the empirical distribution is kept exactly.
        single: Values are rounded to float32 before they are counted.
    """

    name: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    nulls: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    std: float | None
    discrete: bool
    single: bool

    @property
    def rows(self) -> int:
        """Rows with a value."""
        return sum(self.counts)


@dataclass(frozen=True)
class CategoricalReference:
    """Counts of each value, most frequent first.

    Attributes:
        rest: Rows with a value that is not listed (0 when ``complete``).
        singletons: Values that occurred once: the Good-Turing estimate of how many rows of another sample of this size
            hold a value never seen (Good 1953, Biometrika 40).
        complete: All values are listed, so that a value that is not is new.
    """

    name: str
    values: tuple[str, ...]
    counts: tuple[int, ...]
    rest: int
    singletons: int
    nulls: int
    complete: bool

    @property
    def rows(self) -> int:
        """Rows with a value."""
        return sum(self.counts) + self.rest


ColumnReference = NumericReference | CategoricalReference


@dataclass(frozen=True)
class Reference:
    """The yardstick: one entry per feature, and one for the prediction where it is known."""

    rows: int
    columns: tuple[ColumnReference, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def to_bytes(self) -> bytes:
        """Canonical JSON: the same reference gives the same bytes."""
        columns = [
            {"kind": "numeric" if isinstance(column, NumericReference) else "categorical", **column.__dict__}
            for column in self.columns
        ]
        return canonical_json({"format": FORMAT, "rows": self.rows, "columns": columns}).encode()

    @staticmethod
    def from_bytes(data: bytes) -> Reference:
        """The inverse of :meth:`to_bytes`.

        Raises:
            IntegrityError: The bytes are no reference, or one of a newer program.
        """
        try:
            raw = json.loads(data)
            if raw["format"] != FORMAT:
                raise IntegrityError(
                    f"the reference has format {raw['format']}, this program reads {FORMAT}",
                    hint="upgrade mlops-box",
                )
            return Reference(raw["rows"], tuple(_column_from(item) for item in raw["columns"]))
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(
                f"these {len(data)} bytes are no reference: {error}", hint="run mlops-box verify"
            ) from error

    @staticmethod
    def from_table(table: pa.Table) -> Reference:
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


def count_between(values: Floats, edges: Floats) -> tuple[int, ...]:
    """Counts of the ``len(edges) + 1`` right-closed bins that the edges make."""
    places = np.searchsorted(edges, values, side="left")
    return tuple(np.bincount(places, minlength=len(edges) + 1).tolist())


def just_below(value: float, *, single: bool) -> float:
    """The next smaller number of the type; the value itself where it is the smallest."""
    kind = np.float32 if single else np.float64
    with np.errstate(over="ignore"):
        below = np.nextafter(kind(value), kind(-np.inf))
    return float(below) if np.isfinite(below) else float(value)


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


def _column_from(item: dict[str, Any]) -> ColumnReference:
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in item.items()
    }
    kind = fields.pop("kind")
    return NumericReference(**fields) if kind == "numeric" else CategoricalReference(**fields)
