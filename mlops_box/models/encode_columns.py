"""Columns of a request into the two tensors a packed model reads; equal to :func:`encode_rows` on the same values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_box.models.encode import (
    MISSING_TEXT,
    Float32,
    Tensors,
    Text,
    category_text,
    numeric_value,
    to_float32,
    wrong_value,
)
from mlops_box.models.signature import Signature

Array = npt.NDArray[Any]


class ColumnEncoder:
    """Encodes named columns for one signature.

    Args:
        signature: Names, kinds and order of the features.
    """

    def __init__(self, signature: Signature):
        self._numeric = signature.numeric
        self._text = signature.categorical

    def __call__(self, columns: Mapping[str, Array], rows: int) -> Tensors:
        """A feature without a column counts as missing; columns that are no feature are left alone.

        Args:
            columns: Column to an array [rows].

        Raises:
            UsageError: A value is of a type the feature cannot hold; row (from 0) and column are named.
        """
        numeric: Float32 | None = None
        text: Text | None = None
        if self._numeric:
            numeric = np.full((rows, len(self._numeric)), np.nan, dtype=np.float32)
            for index, name in enumerate(self._numeric):
                if name in columns:
                    numeric[:, index] = _numbers(name, columns[name])
        if self._text:
            text = np.full((rows, len(self._text)), MISSING_TEXT, dtype=object)
            for index, name in enumerate(self._text):
                if name in columns:
                    text[:, index] = _texts(name, columns[name])
        return Tensors(numeric, text)


def _numbers(name: str, values: Array) -> Float32:
    if values.dtype == np.float32:
        return values
    if values.dtype.kind in "biuf":
        return to_float32(values.astype(np.float64, copy=False))
    found = np.empty(len(values), dtype=np.float64)
    for row, value in enumerate(values.tolist()):
        try:
            found[row] = numeric_value(value)
        except (TypeError, ValueError, OverflowError):
            raise wrong_value(row, name, value, "a number") from None
    return to_float32(found)


def _texts(name: str, values: Array) -> Text:
    if values.dtype.kind in "biuf":
        distinct, positions = np.unique(values, return_inverse=True)
        spelt = np.array([category_text(value) for value in distinct], dtype=object)
        return spelt[positions]
    found = np.empty(len(values), dtype=object)
    for row, value in enumerate(values.tolist()):
        try:
            found[row] = category_text(value)
        except TypeError:
            raise wrong_value(row, name, value, "text, a number or a boolean") from None
    return found
