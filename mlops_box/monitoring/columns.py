"""Arrow columns as the numbers and texts that drift is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_box.monitoring.reference import Floats, rounded

Integers = np.ndarray[Any, np.dtype[np.int64]]
_TRIED, _MOSTLY = 10_000, 0.9


def is_categorical(kind: pa.DataType) -> bool:
    """Texts, booleans and dictionaries are compared as categories; numbers and times by their order."""
    return bool(pa.types.is_boolean(kind) or pa.types.is_dictionary(kind) or is_text(kind))


def is_text(kind: pa.DataType) -> bool:
    """Is it a type of texts, whatever their layout?"""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def mostly_distinct(values: pa.Array | pa.ChunkedArray) -> bool:
    """Whether it looks so, from the first rows: to count each value first would then be work for nothing."""
    tried = values.slice(0, _TRIED)
    return len(tried) == _TRIED and len(pc.unique(tried)) > _MOSTLY * _TRIED


def is_single(kind: pa.DataType) -> bool:
    """Is it a floating type of at most 32 bits?"""
    return bool(pa.types.is_float32(kind) or pa.types.is_float16(kind))


def numbers(column: pa.ChunkedArray, *, single: bool) -> Floats:
    """The values that are there, as float64; infinities stay, NaN and null are missing.

    Args:
        column: Numbers, booleans, times (as microseconds since 1970) or texts that spell numbers.
        single: Round to float32 first, as the model sees them: 0.1 and float32(0.1) must be the same value.
    """
    kind = column.type
    if pa.types.is_null(kind):
        return np.empty(0)
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        column = column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False).cast(pa.int64())
    elif pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return _parsed(column, single=single)
    values = column.drop_null().cast(pa.float64(), safe=False).to_numpy()
    values = values[~np.isnan(values)]
    return rounded(values) if single else values


@dataclass(frozen=True)
class Counted:
    """Distinct texts, and how many rows hold each."""

    values: pa.Array
    counts: Integers

    @property
    def rows(self) -> int:
        return int(self.counts.sum())


def texts(column: pa.ChunkedArray) -> Counted:
    """How often each value occurs, as text; missing values and empty texts are left out.

    Booleans become ``true`` and ``false``, whole numbers lose their decimals: 3 and 3.0 are both ``3``.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        # A column, so that NaN counts as missing here too.
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    kind = column.type
    counted = pc.value_counts(column.drop_null())
    counts = counted.field("counts").to_numpy()
    values = counted.field("values")
    if is_text(kind):
        # A million different texts stay in Arrow.
        kept = pc.not_equal(values, "").to_numpy(zero_copy_only=False)
        return Counted(values.cast(pa.string()).filter(pa.array(kept)), counts[kept])
    found: dict[str, int] = {}
    for value, count in zip(values.to_pylist(), counts.tolist(), strict=True):
        text = as_text(value)
        if text:
            found[text] = found.get(text, 0) + count
    return Counted(pa.array(list(found), pa.string()), np.array(list(found.values()), dtype=np.int64))


def as_text(value: Any) -> str:
    """One category as text; the empty text is what the model reads as missing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _parsed(column: pa.ChunkedArray, *, single: bool) -> Floats:
    found: list[float] = []
    for value in column.drop_null().to_pylist():
        try:
            found.append(float(value))
        except (TypeError, ValueError):
            continue
    values = np.array(found, dtype=np.float64)
    values = values[~np.isnan(values)]
    return rounded(values) if single else values
