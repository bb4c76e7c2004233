"""Rows into the two tensors a packed model reads; :mod:`mlops_box.models.encode_tables` does the same for tables.

A value means the same whether it comes from a Parquet column or a JSON object: a number (booleans are 0 and 1) becomes
float32 by way of float64, a category becomes text, and what is missing becomes NaN or ``""``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_box.errors import UsageError
from mlops_box.models.signature import Signature

Float32 = npt.NDArray[np.float32]
Text = npt.NDArray[np.object_]
Row = Mapping[str, Any]

_NUMBERS = frozenset({float, int, bool, type(None)})
MISSING_TEXT = ""


@dataclass(frozen=True)
class Tensors:
    """What goes into a packed model.

    Attributes:
        numeric: float32 [rows, numeric features], missing = NaN; ``None`` when the model has no numeric feature.
        text: str objects [rows, categorical features], missing = ``""``; ``None`` when it has no categorical feature.
    """

    numeric: Float32 | None
    text: Text | None

    @property
    def rows(self) -> int:
        for part in (self.numeric, self.text):
            if part is not None:
                return int(part.shape[0])
        return 0

    def take(self, indices: npt.NDArray[np.int64] | slice) -> Tensors:
        """The rows at ``indices``, in that order."""
        return Tensors(
            self.numeric[indices] if self.numeric is not None else None,
            self.text[indices] if self.text is not None else None,
        )


def concatenate(parts: Sequence[Tensors]) -> Tensors:
    """The rows of all ``parts`` below each other; they are of one signature."""
    if len(parts) == 1:
        return parts[0]
    numeric = [part.numeric for part in parts if part.numeric is not None]
    text = [part.text for part in parts if part.text is not None]
    return Tensors(np.concatenate(numeric) if numeric else None, np.concatenate(text) if text else None)


def category_text(value: Any) -> str:
    """A category's one spelling.

    >>> [category_text(value) for value in ("a", 3, 3.0, 2.5, True, None, float("nan"))]
    ['a', '3', '3', '2.5', 'true', '', '']

    Raises:
        TypeError: The value is no text, number or boolean.
    """
    if isinstance(value, str):
        return str(value)
    if value is None:
        return MISSING_TEXT
    if isinstance(value, np.generic):
        return category_text(value.item())
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        if value != value:
            return MISSING_TEXT
        return str(int(value)) if value.is_integer() else repr(value)
    raise TypeError(f"{type(value).__name__} is no category")


def numeric_value(value: Any) -> float:
    """A number as float64; ``None`` is NaN, booleans are 0 and 1.

    Raises:
        TypeError: The value is no number: text is never read as one.
        OverflowError: An integer beyond float64.
    """
    if value is None:
        return float("nan")
    if isinstance(value, int | float | Decimal | np.number | np.bool_):
        return float(value)
    raise TypeError(f"{type(value).__name__} is no number")


class RowEncoder:
    """Encodes JSON-like rows for one signature; build it once a model, a call costs a few microseconds a row.

    Args:
        signature: Names, kinds and order of the features.
    """

    def __init__(self, signature: Signature):
        self._numeric = signature.numeric
        self._text = signature.categorical
        self._numeric_of = _getter(self._numeric)
        self._pack = struct.Struct(f"={len(self._numeric)}f").pack
        self._text_of = _getter(self._text)

    def __call__(self, rows: Sequence[Row]) -> Tensors:
        """A feature that a row lacks counts as missing; keys that are no feature are left alone.

        Raises:
            UsageError: A value is of a type the feature cannot hold; row (from 0) and column are named.
        """
        return Tensors(
            self._encode_numeric(rows) if self._numeric else None,
            self._encode_text(rows) if self._text else None,
        )

    def _encode_numeric(self, rows: Sequence[Row]) -> Float32:
        if not rows:
            return np.empty((0, len(self._numeric)), dtype=np.float32)
        values_of, pack = self._numeric_of, self._pack
        try:
            # By far the fastest for plain numbers, which it rounds as numpy does; it knows no None.
            flat = b"".join([pack(*values_of(row)) for row in rows])
            return np.frombuffer(flat, dtype=np.float32).reshape(len(rows), len(self._numeric))
        except (struct.error, KeyError, OverflowError):
            pass
        plain = _NUMBERS.issuperset
        try:
            values = [values_of(row) for row in rows]
            if all(plain(map(type, row)) for row in values):
                # numpy reads None as NaN and goes through float64, as encode_table does.
                return to_float32(np.array(values, dtype=np.float64))
        except (KeyError, OverflowError):
            pass  # a missing key or an integer beyond float64: value by value, to name it
        return self._encode_numeric_slowly(rows)

    def _encode_numeric_slowly(self, rows: Sequence[Row]) -> Float32:
        matrix = np.empty((len(rows), len(self._numeric)), dtype=np.float64)
        for index, row in enumerate(rows):
            for column, name in enumerate(self._numeric):
                try:
                    matrix[index, column] = numeric_value(row.get(name))
                except (TypeError, ValueError, OverflowError):
                    raise wrong_value(index, name, row.get(name), "a number") from None
        return to_float32(matrix)

    def _encode_text(self, rows: Sequence[Row]) -> Text:
        matrix = np.empty((len(rows), len(self._text)), dtype=object)
        for index, row in enumerate(rows):
            try:
                values: Iterable[Any] = self._text_of(row)
            except KeyError:
                values = [row.get(name) for name in self._text]
            for column, value in enumerate(values):
                if type(value) is str:
                    matrix[index, column] = value
                    continue
                try:
                    matrix[index, column] = category_text(value)
                except TypeError:
                    raise wrong_value(
                        index, self._text[column], value, "text, a number or a boolean"
                    ) from None
        return matrix


def encode_rows(rows: Sequence[Row], signature: Signature) -> Tensors:
    """Encode rows once; keep a :class:`RowEncoder` where it happens often.

    Raises:
        UsageError: See :class:`RowEncoder`.
    """
    return RowEncoder(signature)(rows)


def _getter(names: tuple[str, ...]) -> Callable[[Row], tuple[Any, ...]]:
    if len(names) == 1:
        (name,) = names
        return lambda row: (row[name],)
    return itemgetter(*names) if names else lambda *_: ()


def to_float32(matrix: npt.NDArray[np.float64]) -> Float32:
    """Beyond float32 is infinite, without a warning: the contract's range is where such values are refused."""
    with np.errstate(over="ignore"):
        return matrix.astype(np.float32)


def wrong_value(index: int, name: str, value: Any, wanted: str) -> UsageError:
    """What to say of a value that is none for its feature."""
    shown = repr(value)
    shown = shown if len(shown) <= 40 else shown[:37] + "..."
    return UsageError(
        f"row {index}, column {name!r}: {shown} is not {wanted}",
        details={"row": index, "column": name},
    )
