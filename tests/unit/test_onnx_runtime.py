import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlops_box.errors import IntegrityError, UsageError
from mlops_box.models.encode import Tensors
from mlops_box.models.golden import Golden, check_golden
from mlops_box.models.runtime import OnnxModel, inspect_model
from mlops_box.models.values import Feature, Signature

SIGNATURE = Signature(
    "regression", "y", (Feature("a", "numeric", "double"), Feature("b", "numeric", "double"))
)


def a_model(*, op="ReduceSum", domain="", rows="n", input_name="numeric", weights=None):
    axes = weights or numpy_helper.from_array(np.array([1], dtype=np.int64), "axes")
    inputs = [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, ["n", 2])]
    outputs = [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [rows])]
    node = helper.make_node(op, [input_name, "axes"], ["prediction"], keepdims=0, domain=domain)
    graph = helper.make_graph([node], "g", inputs, outputs, [axes])
    opsets = [helper.make_opsetid("", 18)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, ir_version=8, opset_imports=opsets)


def numeric(*rows):
    return Tensors(np.array(rows, dtype=np.float32).reshape(len(rows), 2), None)


def test_a_model_answers_each_row():
    model = OnnxModel(a_model().SerializeToString(), SIGNATURE)
    assert model.predict(numeric([1, 2], [3, 4])).prediction.tolist() == [3, 7]
    assert model.predict(numeric()).rows == 0


def test_tensors_of_another_width_are_refused():
    model = OnnxModel(a_model().SerializeToString(), SIGNATURE)
    with pytest.raises(UsageError, match="2 numeric features"):
        model.predict(Tensors(np.zeros((1, 3), dtype=np.float32), None))


def test_data_in_another_file_are_never_followed(tmp_path):
    outside = numpy_helper.from_array(np.array([1], dtype=np.int64), "axes")
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value=str(tmp_path / "secret"))
    with pytest.raises(IntegrityError, match="external data"):
        inspect_model(a_model(weights=outside).SerializeToString())


def test_external_data_hide_in_no_branch():
    outside = TensorProto(name="w", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="w.bin")
    branch = helper.make_graph([helper.make_node("Constant", [], ["o"], value=outside)], "b", [], [
        helper.make_tensor_value_info("o", TensorProto.FLOAT, [1])
    ])  # fmt: skip
    model = a_model()
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))
    with pytest.raises(IntegrityError, match="external data"):
        inspect_model(model.SerializeToString())


@pytest.mark.parametrize("domain", ["com.example", "com.microsoft"])
def test_foreign_operators_are_refused(domain):
    with pytest.raises(IntegrityError, match="no standard operator"):
        inspect_model(a_model(domain=domain).SerializeToString())


@pytest.mark.parametrize("data", [b"", b"no onnx at all", b"\x08\x08"])
def test_other_bytes_are_no_model(data):
    with pytest.raises(IntegrityError, match="no ONNX model"):
        OnnxModel(data, SIGNATURE)


def test_a_model_that_is_too_large_is_not_parsed():
    with pytest.raises(IntegrityError, match="at most 10 are loaded"):
        inspect_model(a_model().SerializeToString(), max_bytes=10)


def test_a_graph_that_does_not_fit_its_signature_is_refused():
    with pytest.raises(IntegrityError, match="inputs"):
        OnnxModel(a_model(input_name="x").SerializeToString(), SIGNATURE)


def test_an_answer_of_another_length_is_refused():
    inputs = [helper.make_tensor_value_info("numeric", TensorProto.FLOAT, ["n", 2])]
    outputs = [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [1])]
    node = helper.make_node("ReduceSum", ["numeric"], ["s"], keepdims=1)
    flat = helper.make_node("Reshape", ["s", "one"], ["prediction"])
    one = numpy_helper.from_array(np.array([1], dtype=np.int64), "one")
    graph = helper.make_graph([node, flat], "g", inputs, outputs, [one])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    with pytest.raises(IntegrityError, match="1 rows for 2"):
        OnnxModel(model.SerializeToString(), SIGNATURE).predict(numeric([1, 2], [3, 4]))


def test_golden_rows_tell_a_changed_model():
    model = OnnxModel(a_model().SerializeToString(), SIGNATURE)
    rows = ({"a": 1.0, "b": 2.0}, {"a": None, "b": 2.0})
    golden = Golden.from_json(Golden(rows=rows[:1], prediction=(3.0,)).to_json())
    assert check_golden(model, golden) == []
    assert "expected 4" in check_golden(model, Golden(rows=rows[:1], prediction=(4.0,)))[0]
    assert "got nan" in check_golden(model, Golden(rows=rows, prediction=(3.0, 2.0)))[0]
    assert "shape" in check_golden(model, Golden(rows=rows[:1], probability=((0.5, 0.5),)))[0]


def test_a_broken_golden_file_is_named():
    with pytest.raises(IntegrityError, match="golden"):
        Golden.from_json("{}")


def test_models_made_by_onnx_itself_pass():
    assert isinstance(inspect_model(a_model().SerializeToString()), onnx.ModelProto)
