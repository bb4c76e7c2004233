"""Arrow tables into the two tensors a packed model reads; equal to :func:`mlops_box.models.encode.encode_rows` on their rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlops_box.errors import UsageError
from mlops_box.models.encode import MISSING_TEXT, Float32, Tensors, Text, category_text, to_float32
from mlops_box.models.signature import Signature


def encode_table(table: pa.Table, signature: Signature) -> Tensors:
    """Encode an Arrow table column by column; equal to the same rows one by one.

    Raises:
        UsageError: A feature's column is absent or of a type the feature cannot hold.
    """
    return Tensors(
        _stack([_numeric_column(table, name) for name in signature.numeric], np.float32),
        _stack([_text_column(table, name) for name in signature.categorical], object),
    )


def _stack(columns: list[npt.NDArray[Any]], dtype: Any) -> Any:
    if not columns:
        return None
    matrix = np.empty((len(columns[0]), len(columns)), dtype=dtype)
    for index, column in enumerate(columns):
        matrix[:, index] = column
    return matrix


def _numeric_column(table: pa.Table, name: str) -> Float32:
    column = _plain(_column(table, name))
    kind = column.type
    if not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    ):
        raise UsageError(
            f"column {name!r} is {kind}, the model wants numbers", hint="cast it in [data].query"
        )
    values = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return to_float32(np.asarray(values, dtype=np.float64))


def _text_column(table: pa.Table, name: str) -> Text:
    # Each distinct value is spelt once, by the function that spells single rows.
    encoded = _plain(_column(table, name)).combine_chunks().dictionary_encode()
    try:
        spelt = [category_text(value) for value in encoded.dictionary.to_pylist()]
    except TypeError as error:
        raise UsageError(
            f"column {name!r} cannot be categorical: {error}", hint="cast it in [data].query"
        ) from None
    lookup = np.array([*spelt, MISSING_TEXT], dtype=object)
    indices = encoded.indices.fill_null(len(spelt)).to_numpy(zero_copy_only=False)
    found: Text = lookup[indices]
    return found


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise UsageError(
            f"the data have no column {name!r}, which the model reads",
            hint=f"they have: {', '.join(table.column_names[:20])}",
        )
    return table.column(name)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
