"""Tensors of the Open Inference Protocol: what is read means what was sent, and what is wrong is named."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_box.errors import UsageError
from mlops_box.serving.protocols.tensors import (
    DTYPES,
    NUMERIC,
    Tensor,
    from_list,
    from_raw,
    objects,
    tensor_shape,
    to_raw,
)


@pytest.mark.parametrize("datatype", NUMERIC)
def test_raw_numbers_come_back_as_they_went(datatype: str) -> None:
    values = np.array([0, 1, 7], dtype=DTYPES[datatype])
    tensor = from_raw("x", datatype, (3, 1), values.tobytes())
    assert tensor.values.dtype == DTYPES[datatype]
    assert tensor.values.tolist() == [0, 1, 7]
    assert to_raw(tensor) == values.tobytes()


@settings(deadline=None)
@given(texts=st.lists(st.text(), max_size=8))
def test_raw_texts_come_back_as_they_went(texts: list[str]) -> None:
    data = to_raw(Tensor("x", "BYTES", (len(texts),), objects(texts)))
    assert from_raw("x", "BYTES", (len(texts),), data).values.tolist() == texts


@settings(deadline=None)
@given(data=st.binary(max_size=64), count=st.integers(0, 6))
def test_any_bytes_are_texts_or_refused(data: bytes, count: int) -> None:
    try:
        tensor = from_raw("x", "BYTES", (count,), data)
    except UsageError:
        return
    assert to_raw(tensor) == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (struct.pack("<I", 9) + b"short", "ends within its element 0"),
        (struct.pack("<I", 1) + b"a" + b"rest", "4 bytes behind"),
        (struct.pack("<I", 2) + b"\xff\xfe", "no UTF-8"),
        (b"", "too few"),
    ],
)
def test_raw_texts_that_are_none_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_raw("x", "BYTES", (1,), data)


def test_a_huge_shape_allocates_nothing() -> None:
    with pytest.raises(UsageError, match="has 3 bytes"):
        from_raw("x", "FP32", (2**40, 2**40), b"abc")
    with pytest.raises(UsageError, match="too few"):
        from_raw("x", "BYTES", (2**62,), b"abc")
    with pytest.raises(UsageError, match="has 1 values"):
        from_list("x", "FP32", (2**62,), [1.0])


def test_a_raw_boolean_is_zero_or_one() -> None:
    assert from_raw("x", "BOOL", (2,), b"\0\1").values.tolist() == [False, True]
    with pytest.raises(UsageError, match="neither 0 nor 1"):
        from_raw("x", "BOOL", (2,), b"\0\2")


def test_lists_may_be_flat_or_nested_as_the_shape_says() -> None:
    flat = from_list("x", "INT64", (2, 2), [1, 2, 3, 4])
    nested = from_list("x", "INT64", (2, 2), [[1, 2], [3, 4]])
    assert flat.values.tolist() == nested.values.tolist() == [1, 2, 3, 4]


def test_null_is_a_missing_value() -> None:
    assert np.isnan(from_list("x", "FP64", (2,), [1.0, None]).values[1])
    assert from_list("x", "INT64", (2,), [1, None]).values.tolist() == [1, None]
    assert from_list("x", "BYTES", (2,), ["a", None]).values.tolist() == ["a", None]


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "message"),
    [
        ("FP32", (2, 2), [[1, 2], [3]], "ragged: part 1 of dimension 1 is 1 values"),
        ("FP32", (2, 2), [[1, 2], 3], "ragged: part 1 of dimension 1 is 3"),
        ("FP32", (2, 2), [[1, 2]], "ragged: the whole is 1 values"),
        ("FP32", (1,), [[1.0]], "is .1.0., which is no FP32"),
        ("FP32", (3,), [1, 2], "has 2 values"),
        ("FP32", (1,), ["1"], "element 0 is '1', which is no FP32"),
        ("FP32", (1,), [True], "is True, which is no FP32"),
        ("INT64", (1,), [1.5], "is 1.5, which is no INT64"),
        ("INT8", (1,), [300], "beyond INT8"),
        ("UINT8", (1,), [-1], "beyond UINT8"),
        ("BOOL", (1,), [1], "is 1, which is no BOOL"),
        ("BYTES", (1,), [1], "is 1, which is no BYTES"),
        ("FP32", (1,), {"a": 1}, "no list"),
    ],
)
def test_a_list_that_is_no_tensor_is_refused(
    datatype: str, shape: tuple[int, ...], data: Any, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        from_list("x", datatype, shape, data)


@pytest.mark.parametrize(
    ("shape", "datatype", "message"),
    [
        ([1], "FLOAT", "datatype 'FLOAT'"),
        ([1], "BF16", "not known here"),
        ([1], 3, "not known here"),
        ([-1, 1], "FP32", "which is none"),
        ([1.0], "FP32", "which is none"),
        ([True], "FP32", "which is none"),
        ("1", "FP32", "which is none"),
        (None, "FP32", "which is none"),
        ([], "FP32", "0 dimensions"),
        ([1] * 9, "FP32", "9 dimensions"),
    ],
)
def test_what_is_no_shape_or_datatype_is_refused(shape: Any, datatype: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        tensor_shape("x", shape, datatype)
