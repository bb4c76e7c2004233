"""Two versions of a model on the same rows: what differs, and why they cannot be run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
from onnx import TensorProto, helper, numpy_helper

from mlops_box.box import Box
from mlops_box.models.runtime import Output
from mlops_box.models.values import (
    REFERENCE_FILE,
    ROWS_FILE,
    Feature,
    GateResult,
    ModelVersion,
    Signature,
    VersionDraft,
)
from mlops_box.monitoring.drift import DriftDetector
from mlops_box.monitoring.reservoir import rows_to_bytes
from mlops_box.operations.compare_answers import differences
from mlops_box.operations.compare_versions import compare_versions, margin

SIGNATURE = Signature("regression", "y", (Feature("x", "numeric", "double"),))


def packed(slope: float) -> bytes:
    """``prediction = slope · x``."""
    weights = numpy_helper.from_array(np.array([slope], dtype=np.float32), "slope")
    axes = numpy_helper.from_array(np.array([1], dtype=np.int64), "axes")
    nodes = [
        helper.make_node("Mul", ["numeric", "slope"], ["scaled"]),
        helper.make_node("ReduceSum", ["scaled", "axes"], ["prediction"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("numeric", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["n"])], [weights, axes],
    )  # fmt: skip
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    return bytes(model.SerializeToString())


def version(box: Box, data: pa.Table, mae: float, **files: bytes) -> ModelVersion:
    contents = {
        REFERENCE_FILE: DriftDetector(data).reference.to_bytes(),
        ROWS_FILE: rows_to_bytes(data),
    } | {name.replace("_", "."): content for name, content in files.items()}
    return box.models.register(
        VersionDraft(
            model="lines", project="lines", task="regression", accepted=True, signature=SIGNATURE,
            files={name: box.objects.put_bytes(content, kind="model") for name, content in contents.items()},
            metrics={"mae": mae}, gates=(GateResult("mae", True, "fine", mae, 5.0),), snapshot_id="s" * 64, run_id=None,
        )
    )  # fmt: skip


def test_two_versions_are_run_on_the_newer_ones_rows_and_their_data_compared(box: Box) -> None:
    x = np.linspace(0.0, 1.0, 1000)
    version(box, pa.table({"x": x}), 2.0, packed_onnx=packed(1.0))
    version(box, pa.table({"x": x + 4.0}), 1.5, packed_onnx=packed(1.5))
    found = compare_versions(box, "lines@1", "lines@2")
    answers = found.answers
    assert (answers.problem, answers.rows, answers.source) == (None, 1000, "reference rows of lines@2")
    assert answers.mean_abs is not None
    assert abs(answers.mean_abs - 2.25) < 1e-3
    assert answers.max_abs == 2.5
    assert sum(answers.histogram) == 1000
    assert found.data.finding is not None
    assert found.data.finding.outcome == "drift"
    said = found.to_dict()
    assert said["metrics"]["mae"] == {"a": 2.0, "b": 1.5, "difference": -0.5, "better": "b"}
    assert said["gate_values"]["mae"]["b"] == {"passed": True, "value": 1.5, "limit": 5.0, "margin": 3.5}


def test_a_version_that_cannot_be_run_is_named_with_the_reason(box: Box) -> None:
    data = pa.table({"x": np.linspace(0.0, 1.0, 300)})
    version(box, data, 2.0, packed_onnx=packed(1.0))
    version(box, data, 2.0)
    version(box, pa.table({"other": [1.0] * 300}), 2.0, packed_onnx=packed(2.0))
    assert compare_versions(box, "lines@1", "lines@2").answers.problem == (
        "lines@2 cannot be run: it has no packed.onnx"
    )
    lacking = compare_versions(box, "lines@1", "lines@3").answers
    assert lacking.rows is None
    assert "no column 'x'" in str(lacking.problem)


def test_flipped_labels_are_told_by_the_class_and_not_by_its_place() -> None:
    a = replace(SIGNATURE, task="binary", classes=("no", "yes"))
    b = replace(a, classes=("yes", "no"))
    of_a = Output(
        label=np.array([0, 1, 1]), probability=np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], np.float32)
    )
    of_b = Output(
        label=np.array([1, 0, 1]), probability=np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], np.float32)
    )
    found = differences("three rows", a, of_a, b, of_b)
    assert (found.rows, found.flipped) == (3, 1)
    assert found.max_abs is not None
    assert abs(found.max_abs - 0.3) < 1e-6
    others = differences("three rows", a, of_a, replace(b, classes=("yes", "maybe")), of_b)
    assert (others.flipped, others.max_abs) == (2, None)


def test_the_margin_of_a_gate_is_negative_where_it_failed_and_unknown_where_it_was_not_judged() -> None:
    assert margin(GateResult("r2", False, "below", 0.75, 1.0)) == -0.25
    assert margin(GateResult("champion", None, "no champion yet", 2.0, None)) is None
