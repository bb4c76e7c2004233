"""Tensors of the Open Inference Protocol: named, typed values, from and to JSON lists and raw bytes.

Source: https://github.com/kserve/open-inference-protocol; the binary form is that of Triton's binary tensor extension.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_box.errors import UsageError

BYTES = "BYTES"
BOOL = "BOOL"
NUMERIC: dict[str, np.dtype[Any]] = {
    "FP64": np.dtype("<f8"),
    "FP32": np.dtype("<f4"),
    "FP16": np.dtype("<f2"),
    "INT64": np.dtype("<i8"),
    "INT32": np.dtype("<i4"),
    "INT16": np.dtype("<i2"),
    "INT8": np.dtype("i1"),
    "UINT64": np.dtype("<u8"),
    "UINT32": np.dtype("<u4"),
    "UINT16": np.dtype("<u2"),
    "UINT8": np.dtype("u1"),
}
DTYPES: dict[str, np.dtype[Any]] = {**NUMERIC, BOOL: np.dtype("?"), BYTES: np.dtype(object)}
MAX_DIMENSIONS = 8
_SIZE = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output.

    Attributes:
        values: Flat, row-major, of the datatype's dtype; BYTES are ``str`` in an object array. ``null`` in JSON is NaN, or
            ``None`` in an object array where the datatype has no NaN.
        parameters: Of an output: told beside it.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: npt.NDArray[Any]
    parameters: Mapping[str, str] | None = None


def tensor_shape(name: str, shape: object, datatype: object) -> tuple[int, ...]:
    """``shape`` if it is one, for a datatype that is known.

    Raises:
        UsageError: One of them is not.
    """
    if not isinstance(datatype, str) or datatype not in DTYPES:
        raise UsageError(
            f"input {name[:60]!r} has the datatype {str(datatype)[:20]!r}, which is not known here",
            hint=f"use one of {', '.join(DTYPES)}",
        )
    sizes = list(shape) if isinstance(shape, Iterable) and not isinstance(shape, (str, dict)) else None
    if sizes is None or not all(type(size) is int and size >= 0 for size in sizes):
        raise UsageError(
            f"input {name[:60]!r} has the shape {str(shape)[:60]}, which is none",
            hint="send a list of whole numbers, such as [8, 1]",
        )
    if not 1 <= len(sizes) <= MAX_DIMENSIONS:
        raise UsageError(f"input {name[:60]!r} has {len(sizes)} dimensions", hint="send [rows] or [rows, 1]")
    return tuple(sizes)


def from_raw(name: str, datatype: str, shape: tuple[int, ...], data: memoryview | bytes) -> Tensor:
    """A tensor from its raw little-endian bytes.

    Raises:
        UsageError: They are not what datatype and shape say.
    """
    count = math.prod(shape)
    if datatype == BYTES:
        return Tensor(name, datatype, shape, _split(name, data, count))
    dtype = DTYPES[datatype]
    if len(data) != count * dtype.itemsize:
        raise UsageError(
            f"input {name[:60]!r} has {len(data)} bytes; {datatype} {list(shape)} are {count * dtype.itemsize}",
            hint="send row-major little-endian values without padding",
        )
    values = np.frombuffer(data, dtype="u1" if datatype == BOOL else dtype)
    if datatype == BOOL:
        if count and values.max() > 1:
            raise UsageError(f"input {name[:60]!r} is BOOL and holds a byte that is neither 0 nor 1")
        values = values.view(bool)
    return Tensor(name, datatype, shape, values)


def to_raw(tensor: Tensor) -> bytes:
    """The values as raw little-endian bytes; each of BYTES behind its size as uint32."""
    if tensor.datatype != BYTES:
        return tensor.values.tobytes()
    return b"".join(
        chain.from_iterable(
            (_SIZE.pack(len(data)), data) for data in (text.encode() for text in tensor.values.tolist())
        )
    )


def _split(name: str, data: memoryview | bytes, count: int) -> npt.NDArray[Any]:
    view = memoryview(data)
    if len(view) < count * _SIZE.size:
        raise UsageError(f"input {name[:60]!r} has {len(view)} bytes, too few for {count} texts")
    texts: list[str] = []
    start = 0
    for index in range(count):
        if len(view) - start < _SIZE.size:
            raise _cut(name, index)
        (size,) = _SIZE.unpack_from(view, start)
        start += _SIZE.size
        if len(view) - start < size:
            raise _cut(name, index)
        texts.append(text_of(name, index, view[start : start + size]))
        start += size
    if start != len(view):
        raise UsageError(f"input {name[:60]!r} has {len(view) - start} bytes behind its {count} texts")
    return objects(texts)


def _cut(name: str, index: int) -> UsageError:
    return UsageError(
        f"input {name[:60]!r} ends within its element {index}",
        hint="BYTES elements come each behind their size as uint32, little-endian",
    )


def text_of(name: str, index: int, data: memoryview | bytes) -> str:
    """One element of BYTES, which are texts here.

    Raises:
        UsageError: It is no UTF-8.
    """
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"input {name[:60]!r}: element {index} is no UTF-8 text") from None


def from_list(name: str, datatype: str, shape: tuple[int, ...], data: object) -> Tensor:
    """A tensor from JSON: a flat list, or one nested as the shape says. ``null`` is a missing value.

    Raises:
        UsageError: It is ragged, or a value is not of the datatype.
    """
    if not isinstance(data, list):
        raise UsageError(f"input {name[:60]!r} has data that is no list")
    flat = _flat(name, shape, data)
    count = math.prod(shape)
    if len(flat) != count:
        raise UsageError(
            f"input {name[:60]!r} has {len(flat)} values; the shape {list(shape)} holds {count}",
            hint="send as many values as the shape says",
        )
    allowed = _ALLOWED[datatype]
    kinds = set(map(type, flat))
    if not kinds <= allowed:
        wrong = next(index for index, value in enumerate(flat) if type(value) not in allowed)
        raise UsageError(
            f"input {name[:60]!r}: element {wrong} is {_shown(flat[wrong])}, which is no {datatype}",
            hint="check the model's metadata for the datatypes of its inputs",
        )
    if datatype == BYTES or (_NONE in kinds and DTYPES[datatype].kind != "f"):
        return Tensor(name, datatype, shape, objects(flat))
    return Tensor(name, datatype, shape, _array(name, datatype, flat))


def _array(name: str, datatype: str, flat: Sequence[Any]) -> npt.NDArray[Any]:
    dtype = DTYPES[datatype]
    try:
        if dtype.kind != "f" or dtype.itemsize == 8:
            return np.array(flat, dtype=dtype)
        with np.errstate(over="ignore"):  # what becomes infinite is for the door
            return np.array(flat, dtype=dtype)
    except OverflowError:
        raise UsageError(f"input {name[:60]!r} has a value beyond {datatype}") from None


def objects(values: Sequence[Any]) -> npt.NDArray[Any]:
    """An object array [n] of ``values``."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _flat(name: str, shape: tuple[int, ...], data: list[Any]) -> list[Any]:
    """Unfold a nested list, whose lists must be as long as the shape says."""
    if not data or type(data[0]) is not list:
        return data
    level = [data]
    for depth, size in enumerate(shape):
        for index, part in enumerate(level):
            if type(part) is not list or len(part) != size:
                found = f"{len(part)} values" if type(part) is list else _shown(part)
                where = f"part {index} of dimension {depth}" if depth else "the whole"
                raise UsageError(
                    f"input {name[:60]!r} is ragged: {where} is {found}, the shape says {size} values",
                    hint="send a flat list, or lists nested as the shape says",
                )
        level = list(chain.from_iterable(level))
    return level


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


_NONE = type(None)
_ALLOWED: dict[str, frozenset[type]] = {
    BYTES: frozenset({str, _NONE}),
    BOOL: frozenset({bool, _NONE}),
    **{
        datatype: frozenset({int, float, _NONE} if dtype.kind == "f" else {int, _NONE})
        for datatype, dtype in NUMERIC.items()
    },
}
