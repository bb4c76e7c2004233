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

from mlops_box.errors import IntegrityError

Floats = np.ndarray[Any, np.dtype[np.float64]]
FORMAT = 1
PREDICTION = "(prediction)"  # no feature of a project can have this name and a window's table too


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
        from mlops_box.canonical import canonical_json

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


def rounded(values: Floats) -> Floats:
    """The values as float32 holds them; what it cannot hold becomes infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32).astype(np.float64)


def _column_from(item: dict[str, Any]) -> ColumnReference:
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in item.items()
    }
    kind = fields.pop("kind")
    return NumericReference(**fields) if kind == "numeric" else CategoricalReference(**fields)
