"""Columns as rows: what tensors and Arrow tables say of entities, as JSON would say it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Any

import numpy.typing as npt

from mlops_box.data.arrays import plain_value
from mlops_box.serving.door import Row


def as_rows(columns: Mapping[str, npt.NDArray[Any]], rows: int) -> list[Row]:
    """The rows of columns [rows], in JSON's types: NaN is ``None``, a time a text.

    >>> as_rows({"a": np.array([0.1, np.nan], dtype=np.float32)}, 2)
    [{'a': 0.1}, {'a': None}]
    """
    if not columns:
        return [{} for _ in range(rows)]
    lists = [_plain(values) for values in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def _plain(values: npt.NDArray[Any]) -> list[Any]:
    kind = values.dtype.kind
    if kind == "f" and values.dtype.itemsize < 8:
        # The shortest number that float32 holds so: a bound of 0.1 is for who sends 0.1.
        return [plain_value(float(str(value))) for value in values]
    if kind == "M":
        return [_time_text(value) for value in values.astype("datetime64[us]").tolist()]
    return [plain_value(value) for value in values.tolist()]


def _time_text(value: Any) -> Any:
    """A day where it is one, which reads as a date and as a time; beyond the years 1 to 9999 it is a number, and none."""
    if not isinstance(value, datetime):
        return value
    return value.date().isoformat() if value.time() == time() else value.replace(tzinfo=UTC).isoformat()
