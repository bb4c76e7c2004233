import numpy as np
import pyarrow as pa
import pytest

from mlops_box.errors import UsageError
from mlops_box.models.encode import encode_rows
from mlops_box.models.encode_tables import encode_table
from mlops_box.models.values import Feature, Signature

SIGNATURE = Signature(
    "regression",
    "y",
    (
        Feature("a", "numeric", "double"),
        Feature("c", "categorical", "varchar", ("x",)),
        Feature("b", "numeric", "boolean"),
    ),
)


def test_missing_keys_and_nulls_become_nan_and_empty_text():
    tensors = encode_rows([{"a": 1.5, "b": True, "c": "x"}, {}, {"a": None, "b": None, "c": None}], SIGNATURE)
    np.testing.assert_array_equal(
        tensors.numeric, np.array([[1.5, 1], [np.nan] * 2, [np.nan] * 2], dtype=np.float32)
    )
    assert tensors.text.tolist() == [["x"], [""], [""]]
    assert tensors.rows == 3


@pytest.mark.parametrize("value", ["1.5", [1], 10**400])
def test_a_value_that_is_no_number_names_its_row_and_column(value):
    with pytest.raises(UsageError, match="row 1, column 'a'"):
        encode_rows([{"a": 1.0, "b": 0, "c": ""}, {"a": value, "b": 0, "c": ""}], SIGNATURE)


def test_a_structure_is_no_category():
    with pytest.raises(UsageError, match="row 0, column 'c'"):
        encode_rows([{"a": 1, "b": 0, "c": {"x": 1}}], SIGNATURE)


def test_a_model_without_one_kind_gets_no_tensor_of_it():
    tensors = encode_rows([{"a": 1}], Signature("regression", "y", (Feature("a", "numeric", "double"),)))
    assert tensors.text is None
    assert tensors.numeric.shape == (1, 1)


def test_no_rows_keep_their_width():
    tensors = encode_rows([], SIGNATURE)
    assert tensors.numeric.shape == (0, 2)
    assert tensors.text.shape == (0, 1)


def test_an_absent_column_is_named():
    with pytest.raises(UsageError, match="'c'"):
        encode_table(pa.table({"a": [1.0], "b": [True]}), SIGNATURE)


def test_a_text_column_is_not_read_as_numbers():
    with pytest.raises(UsageError, match="'a' is string"):
        encode_table(pa.table({"a": ["1"], "b": [True], "c": ["x"]}), SIGNATURE)


def test_dictionary_and_decimal_columns_are_read_by_value():
    from decimal import Decimal

    table = pa.table({
        "a": pa.array([Decimal("1.50"), None]),
        "b": pa.array([None, None]),
        "c": pa.array(["x", None]).dictionary_encode(),
    })  # fmt: skip
    tensors = encode_table(table, SIGNATURE)
    assert tensors.numeric[0, 0] == 1.5
    assert np.isnan(tensors.numeric[1, 0])
    assert tensors.text.tolist() == [["x"], [""]]


def test_numbers_beyond_float32_are_infinite_without_a_warning(recwarn):
    assert np.isinf(encode_rows([{"a": 1e300, "b": 0, "c": ""}], SIGNATURE).numeric[0, 0])
    assert not recwarn.list
