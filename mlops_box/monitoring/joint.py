"""Drift of the columns together: a window's rows against the reference's, told apart by a classifier."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa

from mlops_box.monitoring.columns import numbers, texts
from mlops_box.monitoring.detectors.base import Compared
from mlops_box.monitoring.reference import ColumnReference, Floats, NumericReference, Reference
from mlops_box.monitoring.reservoir import GROUP
from mlops_box.monitoring.season import MIN_WINDOWS
from mlops_box.monitoring.statistics.calibrated import Usual, fit_usual
from mlops_box.monitoring.statistics.domain_classifier import Matrix, separate

MIN_ROWS = 100
_LEARNT = "usual"
_MOST_INPUTS = 16  # 152 with their products
_VALUES = 6
_LEAST_SHARE = 0.02


class JointDetector:
    """The reference's rows, encoded once.

    Args:
        reference: Gives every column its scale.
        rows: Rows of the reference, see :func:`~mlops_box.monitoring.reservoir.draw_reference`.
    """

    def __init__(self, reference: Reference, rows: pa.Table, *, seed: int = 0):
        self._seed = seed
        self._columns = [column for column in reference.columns if column.name in rows.column_names]
        self._rows = rows
        self._encoded: dict[frozenset[str], tuple[Matrix, Usual | None]] = {}

    @property
    def calibrated(self) -> bool:
        return GROUP in self._rows.column_names

    def compare(self, window: pa.Table, *, without: Collection[str] = ()) -> tuple[Compared, Usual | None]:
        """The comparison, and how much earlier windows differed where that is known.

        Args:
            window: Rows of the window.
            without: Columns to leave aside, such as those of a broken sensor.
        """
        columns = [
            item for item in self._columns if item.name in window.column_names and item.name not in without
        ]
        if len(columns) < 2:
            return Compared(None, None, "fewer than two columns to look at together"), None
        if min(window.num_rows, self._rows.num_rows) < MIN_ROWS:
            few = min(window.num_rows, self._rows.num_rows)
            return Compared(None, None, f"{few} rows, {MIN_ROWS} are needed"), None
        left, usual = self._reference(columns)
        found = separate(left, encode(columns, window), seed=self._seed)
        text = f"a classifier tells the rows apart with AUC {max(found.auc, 0.5):.3f}"
        return Compared(found.p, found.effect, text), usual

    def _reference(self, columns: list[ColumnReference]) -> tuple[Matrix, Usual | None]:
        key = frozenset(column.name for column in columns)
        if key not in self._encoded:
            left = encode(columns, self._rows)
            self._encoded[key] = left, self._usual(columns, left) if self.calibrated else None
        return self._encoded[key]

    def learnt(self) -> pa.Table:
        """The rows, with how much earlier windows differ written into their schema: it takes a second to find out."""
        if not self._columns or not self.calibrated:
            return self._rows
        effects = self._effects(encode(self._columns, self._rows))
        facts = {"columns": [column.name for column in self._columns], "effects": effects}
        return self._rows.replace_schema_metadata({_LEARNT: json.dumps(facts)})

    def _usual(self, columns: list[ColumnReference], encoded: Matrix) -> Usual | None:
        facts = json.loads((self._rows.schema.metadata or {}).get(_LEARNT.encode(), b"{}"))
        known = facts.get("columns") == [column.name for column in columns]
        effects = facts["effects"] if known else self._effects(encoded)
        return fit_usual(effects, "atanh") if len(effects) >= MIN_WINDOWS else None

    def _effects(self, encoded: Matrix) -> list[float]:
        """Every earlier window against all others. Its hundred rows scatter more than a window's, to the quiet side."""
        groups = self._rows[GROUP].to_numpy()
        places = np.unique(groups)
        return [
            2 * separate(encoded[groups != place], encoded[groups == place], seed=self._seed).auc - 1
            for place in places
        ]


def encode(columns: list[ColumnReference], table: pa.Table) -> Matrix:
    """[rows, inputs]: numbers by their rank in the reference, frequent values of categories as 0 or 1; missing is 0.

    Ranks tame tails; every input has about mean 0 and variance 1 in the reference.
    """
    inputs: list[Floats] = []
    for column in columns:
        inputs += _encode_column(column, table.column(column.name))
        if len(inputs) >= _MOST_INPUTS:
            break
    return np.column_stack(inputs[:_MOST_INPUTS]).astype(np.float32)


def _encode_column(reference: ColumnReference, column: pa.ChunkedArray) -> list[Floats]:
    if isinstance(reference, NumericReference):
        return [_ranks(reference, column)]
    values = _as_texts(column)
    found = []
    for value, count in zip(reference.values[:_VALUES], reference.counts[:_VALUES], strict=True):
        share = count / max(reference.rows, 1)
        if _LEAST_SHARE <= share <= 1 - _LEAST_SHARE:
            found.append(((values == value) - share) / np.sqrt(share * (1 - share)))
    return found or [np.zeros(len(column))]


def _ranks(reference: NumericReference, column: pa.ChunkedArray) -> Floats:
    found = np.zeros(len(column))
    there = _there(column)
    values = numbers(column, single=reference.single)
    if not len(reference.edges) or len(values) != int(there.sum()):
        return found
    counts = np.asarray(reference.counts, dtype=np.float64)
    middle = (np.cumsum(counts) - counts / 2) / max(counts.sum(), 1.0)
    found[there] = np.sqrt(12) * (middle[np.searchsorted(reference.edges, values, side="left")] - 0.5)
    return found


def _there(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    import pyarrow.compute as pc

    there = pc.is_valid(column)
    if pa.types.is_floating(column.type):
        there = pc.and_(there, pc.fill_null(pc.invert(pc.is_nan(column)), False))
    found: np.ndarray[Any, np.dtype[np.bool_]] = there.to_numpy()
    return found


def _as_texts(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """Each row's category as text: the distinct ones are spelt once."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    encoded = column.combine_chunks().dictionary_encode()
    # texts() spells values; asked for one value at a time it keeps its rules for all.
    spelt = [_spell(value) for value in encoded.dictionary.to_pylist()]
    places = encoded.indices.fill_null(len(spelt)).to_numpy(zero_copy_only=False)
    found: np.ndarray[Any, Any] = np.array([*spelt, ""], dtype=object)[places]
    return found


def _spell(value: Any) -> str:
    counted = texts(pa.chunked_array([pa.array([value])]))
    return str(counted.values[0].as_py()) if len(counted.values) else ""
