import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_box.models.encode import encode_rows
from mlops_box.models.encode_columns import ColumnEncoder
from mlops_box.models.encode_tables import encode_table
from mlops_box.models.values import Feature, Signature

BIGINT = st.integers(-(2**63), 2**63 - 1)
COLUMNS = {
    "double": (st.floats(), pa.float64()),
    "bigint": (BIGINT, pa.int64()),
    "boolean": (st.booleans(), pa.bool_()),
    "varchar": (st.text(max_size=5), pa.string()),
}


@st.composite
def tables(draw):
    kinds = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=5))
    rows = draw(st.integers(0, 12))
    columns, features = {}, []
    for index, kind in enumerate(kinds):
        values, type_ = COLUMNS[kind]
        name = f"c{index}"
        categorical = kind == "varchar" or draw(st.booleans())
        features.append(Feature(name, "categorical" if categorical else "numeric", kind))
        columns[name] = pa.array(
            draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), type_, from_pandas=False
        )
    return pa.table(columns), Signature("regression", "y", tuple(features))


@given(tables())
@settings(max_examples=200, deadline=None)
def test_a_row_means_the_same_in_a_table_as_json_and_in_columns(case):
    table, signature = case
    of_table = encode_table(table, signature)
    of_rows = encode_rows(table.to_pylist(), signature)
    _assert_equal(of_table, of_rows)
    columns = {name: table[name].to_numpy() for name in table.column_names if not table[name].null_count}
    objects = {
        name: np.array([*table[name].to_pylist(), None], dtype=object)[:-1] for name in table.column_names
    }
    encode = ColumnEncoder(signature)
    _assert_equal(of_rows, encode(objects, table.num_rows))
    _assert_equal(of_rows, encode(objects | columns, table.num_rows))


def _assert_equal(tensors, others):
    for one, other in ((tensors.numeric, others.numeric), (tensors.text, others.text)):
        if one is None:
            assert other is None
            continue
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
