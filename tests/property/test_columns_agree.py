"""Rows that come as columns get the verdicts of rows that come one by one, rule by rule and word by word."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_box.data.arrays import ArrayContract, MatrixContract
from mlops_box.data.rows import RowContract
from mlops_box.models.encode import encode_rows
from mlops_box.models.values import Feature, Signature
from mlops_box.project import Contract
from mlops_box.serving.row_block import FEWEST, RowBlock

CONTRACT = Contract.model_validate(
    {
        "flag": {"type": "boolean"},
        "maybe": {"type": "boolean", "null": True, "in": [True]},
        "count": {"type": "bigint", "min": -3, "max": 10},
        "level": {"type": "bigint", "null": True, "in": [1, 2, 2**53 + 1]},
        "share": {"type": "double", "min": 0.1, "max": 1},
        "step": {"type": "double", "in": [0.1, 0.5, 3]},
        "any": {"type": "double", "null": True},
        "word": {"type": "varchar", "regex": "[a-z]+"},
        "at": {"type": "timestamp", "null": True, "min": "2000-01-01"},
    }
)
NAMES = [*CONTRACT.columns, "free"]
NUMBERS = ("float64", "float32", "float16", "int64", "int8", "uint64", "bool")
_ODD = [
    0.0,
    -0.0,
    1.0,
    3.0,
    0.1,
    0.5,
    2.5,
    11.0,
    np.nan,
    np.inf,
    -np.inf,
    2.0**53,
    2.0**63,
    -(2.0**63),
    1e308,
]
_INTEGERS = [0, 1, 2, 3, 10, 11, -3, -4, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1]


@st.composite
def arrays(draw: st.DrawFn, rows: int) -> np.ndarray[Any, Any]:
    kind = draw(st.sampled_from((*NUMBERS, "object", "datetime64[us]")))
    if kind == "object":
        items = st.one_of(st.none(), st.sampled_from([*_ODD, *_INTEGERS, "a", "A", "2001-01-01", [1], True]))
        values = draw(st.lists(items, min_size=rows, max_size=rows))
        made = np.empty(rows, dtype=object)
        for index, value in enumerate(values):
            made[index] = value
        return made
    if kind == "datetime64[us]":
        moments = draw(
            st.lists(st.sampled_from(["1999-01-01", "2020-05-05", "NaT"]), min_size=rows, max_size=rows)
        )
        return np.array(moments, dtype=kind)
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        items = st.sampled_from(_ODD) | st.floats(-20, 20)
    elif dtype.kind == "b":
        items = st.booleans()
    else:
        info = np.iinfo(dtype)
        items = st.sampled_from([n for n in _INTEGERS if info.min <= n <= info.max])
    with np.errstate(over="ignore"):
        return np.array(draw(st.lists(items, min_size=rows, max_size=rows)), dtype=dtype)


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, dict[str, np.ndarray[Any, Any]]]:
    rows = draw(st.integers(1, 6))
    return rows, {name: draw(arrays(rows)) for name in draw(st.sets(st.sampled_from(NAMES)))}


def one_by_one(columns: dict[str, np.ndarray[Any, Any]], rows: int) -> list[tuple[int, str, str]]:
    """The row door's verdicts; a float32 that is a bound stands for the bound."""
    contract = RowContract(CONTRACT.columns, NAMES)
    found = []
    for row in range(rows):
        values = {name: _value(name, column[row]) for name, column in columns.items()}
        found += [(row, problem.rule, problem.message) for problem in contract.check(values)]
        free = values.get("free")
        if isinstance(free, float) and np.isinf(free) and columns["free"].dtype.kind == "f":
            found.append((row, "free.finite", f"free: {free} is not finite"))
    return found


def _value(name: str, item: Any) -> Any:
    value = item.item() if isinstance(item, np.generic) else item
    if value is None or value != value:
        return None
    bound = isinstance(item, np.floating) and name in ("share", "step") and item == type(item)(0.1)
    return 0.1 if bound else value


@settings(max_examples=300, deadline=None)
@given(tables())
def test_columns_and_rows_get_the_same_verdicts(table: tuple[int, dict[str, np.ndarray[Any, Any]]]) -> None:
    rows, columns = table
    found = ArrayContract(RowContract(CONTRACT.columns, NAMES)).check(columns, rows)
    assert [(row, problem.rule, problem.message) for row, problem in found] == one_by_one(columns, rows)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_matrix_and_rows_get_the_same_verdicts(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 6))
    names = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    cells = st.lists(st.sampled_from([*_ODD, 1.0, 2.0, 3.0]), min_size=len(names), max_size=len(names))
    with np.errstate(over="ignore"):
        matrix = np.array(data.draw(st.lists(cells, min_size=rows, max_size=rows)), dtype=np.float32)
    contract = RowContract(CONTRACT.columns, names)
    expected = []
    for row in range(rows):
        values: dict[str, Any] = {}
        for name, item in zip(names, matrix[row], strict=True):
            value = _value(name, item)
            boolean = name in ("flag", "maybe") and value in (0.0, 1.0)
            values[name] = bool(value) if boolean else value
        problems = [(problem.column, problem.rule, problem.message) for problem in contract.check(values)]
        if np.isinf(values.get("free") or 0.0):
            problems.append(("free", "free.finite", f"free: {values['free']} is not finite"))
        problems.sort(key=lambda problem: names.index(problem[0]))
        expected += [(row, rule, message) for _, rule, message in problems]
    found = MatrixContract(contract, names).check(matrix)
    assert [(row, problem.rule, problem.message) for row, problem in found] == expected


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_the_bound_itself_passes_in_any_precision(kind: str) -> None:
    contract = ArrayContract(RowContract(CONTRACT.columns, ["share", "step"]))
    values = np.array([0.1, 1.0], dtype=kind)
    assert contract.check({"share": values, "step": np.array([0.1, 0.5], dtype=kind)}, 2) == []


BLOCK = Contract.model_validate(
    {
        "count": {"type": "bigint", "min": -3, "max": 10},
        "share": {"type": "double", "min": 0.1, "max": 1},
        "level": {"type": "bigint", "null": True, "in": [1, 2, 11]},
    }
)
_CELLS = st.one_of(
    st.sampled_from([0.1, 0.5, 1, 1.0, 2, 11, -4, 2**53 + 1, 2**70, 1e39, True, False, None, "1"]),
    st.floats(0.1, 1),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(_CELLS, _CELLS, _CELLS, _CELLS), min_size=FEWEST, max_size=FEWEST + 4), st.data())
def test_rows_that_pass_as_a_block_would_pass_one_by_one_and_mean_the_same(
    cells: list[tuple[Any, Any, Any, Any]], data: st.DataObject
) -> None:
    names = data.draw(st.lists(st.sampled_from([*BLOCK.columns, "free"]), min_size=2, unique=True))
    good = {"count": 1, "share": 0.5, "level": 2, "free": 7.5}
    spoilt = data.draw(st.sets(st.integers(0, 3)))
    rows = [
        {
            name: cell if place in spoilt else good[name]
            for place, (name, cell) in enumerate(zip(names, row, strict=False))
        }
        for row in cells
    ]
    contract = RowContract(BLOCK.columns, names)
    body = (
        orjson.dumps({"rows": json.loads(json.dumps(rows))})
        if not _is_huge(rows)
        else json.dumps(rows).encode()
    )
    matrix = RowBlock(contract, names).matrix(rows, body)
    if not spoilt:
        assert matrix is not None
    if matrix is not None:
        assert [contract.check(row) for row in rows] == [[]] * len(rows)
        signature = Signature("regression", "y", tuple(Feature(name, "numeric", "double") for name in names))
        np.testing.assert_array_equal(matrix, encode_rows(rows, signature).numeric)


def _is_huge(rows: list[dict[str, Any]]) -> bool:
    return any(type(value) is int and value >= 2**64 for row in rows for value in row.values())
