import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from mlops_box.models.encode import Tensors
from mlops_box.models.runtime import OnnxModel
from mlops_box.models.values import Feature, Signature
from mlops_box.project.declaration import Categorical, Numeric, Preprocess
from mlops_box.training.graph import Core, assemble
from mlops_box.training.parity import run_named
from mlops_box.training.preprocess import fit_preprocessor

NUMBERS = st.floats(-1e6, 1e6, width=32) | st.just(float("nan"))
WORDS = st.sampled_from(["a", "b", "ü", "a b", "", "0"])
COLUMN = "sum"


def sum_core(weights: np.ndarray) -> Core:
    """Weights every column differently, so that no two can be confused."""
    matrix = onnx.numpy_helper.from_array(weights.reshape(-1, 1), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["features", "w"], [COLUMN])], "core",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", len(weights)])],
        [helper.make_tensor_value_info(COLUMN, TensorProto.FLOAT, ["n", 1])], [matrix],
    )  # fmt: skip
    return Core(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), COLUMN)


@st.composite
def cases(draw):
    rows, unseen = draw(st.integers(2, 20)), draw(st.integers(1, 6))
    numeric, text = draw(st.integers(0, 4)), draw(st.integers(0, 3))
    if numeric + text == 0:
        numeric = 1

    def tensors(count, words):
        cells = st.lists(
            st.lists(NUMBERS, min_size=numeric, max_size=numeric), min_size=count, max_size=count
        )
        texts = st.lists(st.lists(words, min_size=text, max_size=text), min_size=count, max_size=count)
        return Tensors(
            np.array(draw(cells), dtype=np.float32).reshape(count, numeric) if numeric else None,
            np.array(draw(texts), dtype=object).reshape(count, text) if text else None,
        )

    train, other = tensors(rows, WORDS), tensors(unseen, WORDS | st.text(max_size=3))
    # Every feature has at least one value.
    if train.numeric is not None:
        train.numeric[0] = 1.5
    if train.text is not None:
        train.text[0] = "a"
    declared = Preprocess(
        numeric=Numeric(
            impute=draw(st.sampled_from(["median", "mean", "zero"])),
            scale=draw(st.sampled_from(["standard", "none"])),
        ),
        categorical=Categorical(min_count=1, max_values=draw(st.integers(1, 4))),
    )
    features = tuple(Feature(f"n {index}", "numeric", "double") for index in range(numeric)) + tuple(
        Feature(f"t{index}", "categorical", "varchar") for index in range(text)
    )
    return train, other, features, declared


@given(cases())
@settings(max_examples=60, deadline=None)
def test_numpy_and_both_graphs_prepare_features_alike(case):
    train, other, features, declared = case
    fitted = fit_preprocessor(train, features, declared)
    signature = Signature("regression", "y", fitted.name_values(features))
    for column in range(len(fitted.columns)):
        # One column at a time comes through untouched: the graph must give the very same bits.
        weights = np.zeros(len(fitted.columns), dtype=np.float32)
        weights[column] = 1.0
        graphs = assemble(fitted, sum_core(weights), signature)
        expected = fitted.transform(other)[:, column]
        packed = OnnxModel(graphs.packed, signature).predict(other).prediction
        np.testing.assert_array_equal(packed, expected)
        np.testing.assert_array_equal(run_named(graphs.named, signature, other).prediction, expected)
