"""Tensors and Arrow tables get the verdicts, and become the model's inputs, that the same values get as JSON rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_box.models.encode import RowEncoder
from mlops_box.models.encode_columns import ColumnEncoder
from mlops_box.models.values import Feature, Signature
from mlops_box.project import parse_project
from mlops_box.serving.columns import Columns
from mlops_box.serving.door import Door
from mlops_box.serving.door_rules import door_rules
from mlops_box.serving.problems import ContractViolation
from mlops_box.serving.protocols.arrow import read_stream
from mlops_box.serving.protocols.interface import Interface
from mlops_box.serving.protocols.tensors import Tensor, from_list, from_raw, to_raw

PROJECT = """
[project]
name = "all"
[data]
source = "all.csv"
[data.contract]
speed = { type = "double", min = -5, max = 100, null = true }
count = { type = "bigint", min = 0 }
on = { type = "boolean" }
kind = { type = "varchar", in = ["l", "m"], null = true }
[model]
task = "binary"
target = "fails"
features = ["speed", "count", "on", "kind"]
"""
FEATURES = (
    Feature("speed", "numeric", "double"),
    Feature("count", "numeric", "bigint"),
    Feature("on", "numeric", "boolean"),
    Feature("kind", "categorical", "varchar", ("l", "m")),
)
ALL = Signature("binary", "fails", FEATURES, (False, True))
TYPES = {"speed": "FP64", "count": "INT64", "on": "BOOL", "kind": "BYTES"}
ARROW_TYPES = {"speed": pa.float64(), "count": pa.int64(), "on": pa.bool_(), "kind": pa.string()}
ROW = st.fixed_dictionaries(
    {
        "speed": st.none() | st.floats(-10, 110) | st.sampled_from([float("inf"), -5.0, 100.0]),
        "count": st.none() | st.integers(-3, 2**62),
        "on": st.none() | st.booleans(),
        "kind": st.none() | st.sampled_from(["l", "m", "z", ""]),
    }
)
DOOR = Door(ALL, door_rules(parse_project(PROJECT)))
FACE = Interface(ALL)


def verdict(read: Any) -> Any:
    """The rules that were broken, or the tensors that the model gets."""
    try:
        found = read()
    except ContractViolation as error:
        return error.details
    encoded = (
        ColumnEncoder(ALL)(found.values, found.rows) if isinstance(found, Columns) else RowEncoder(ALL)(found)
    )
    assert encoded.numeric is not None
    assert encoded.text is not None
    return np.nan_to_num(encoded.numeric, nan=-1.0).tolist(), encoded.text.tolist()


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=12))
def test_tensors_mean_what_rows_mean(rows: list[dict[str, Any]]) -> None:
    expected = verdict(lambda: DOOR.checked([dict(row) for row in rows]))

    def tensor(name: str, shape: tuple[int, ...]) -> Tensor:
        return from_list(name, TYPES[name], shape, [row[name] for row in rows])

    for shape in ((len(rows),), (len(rows), 1)):
        inputs = [tensor(name, shape) for name in TYPES]
        assert verdict(lambda inputs=inputs: FACE.read(inputs, DOOR)) == expected
    if all(None not in (row["count"], row["on"], row["kind"]) for row in rows):
        # Raw bytes know no null but NaN.
        raw = [
            from_raw(one.name, one.datatype, one.shape, to_raw(one))
            for one in (tensor(name, (len(rows),)) for name in TYPES)
        ]
        assert verdict(lambda: FACE.read(raw, DOOR)) == expected


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=12), dictionary=st.booleans(), chunks=st.booleans())
def test_arrow_tables_mean_what_rows_mean(rows: list[dict[str, Any]], dictionary: bool, chunks: bool) -> None:
    expected = verdict(lambda: DOOR.checked([dict(row) for row in rows]))
    table = pa.table(
        {name: pa.array([row[name] for row in rows], kind) for name, kind in ARROW_TYPES.items()}
    )
    if dictionary:
        table = table.set_column(3, "kind", table["kind"].dictionary_encode())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=3 if chunks else None)
    assert verdict(lambda: read_stream(bytes(sink.getvalue()), FACE, DOOR)) == expected
