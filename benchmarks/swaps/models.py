"""Versions that differ by their weights: a dense network of 4 MB, so that a version that is not freed shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlops_box.box import Box
from mlops_box.models.golden import Golden
from mlops_box.models.values import GOLDEN_FILE, PACKED_FILE, Feature, ModelVersion, Signature, VersionDraft
from mlops_box.project import LoadedProject, parse_project

MODEL = "swapped"
WIDTH = 1024
NAMES = ["a", "b"]
ROW = {"a": 1.0, "b": 2.0}


def network(seed: int) -> bytes:
    """``numeric`` float32 [n, 2] through two dense layers to ``prediction`` float32 [n]."""
    from onnx import TensorProto, helper, numpy_helper

    dice = np.random.default_rng(seed)
    shapes = {"w0": (2, WIDTH), "w1": (WIDTH, WIDTH), "w2": (WIDTH, 1)}
    weights = [
        numpy_helper.from_array((dice.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    axes = numpy_helper.from_array(np.array([1], dtype=np.int64), "axes")
    nodes = [
        helper.make_node("MatMul", ["numeric", "w0"], ["h0"]),
        helper.make_node("Relu", ["h0"], ["r0"]),
        helper.make_node("MatMul", ["r0", "w1"], ["h1"]),
        helper.make_node("Relu", ["h1"], ["r1"]),
        helper.make_node("MatMul", ["r1", "w2"], ["column"]),
        helper.make_node("Squeeze", ["column", "axes"], ["prediction"]),
    ]
    graph = helper.make_graph(
        nodes, "dense",
        [helper.make_tensor_value_info("numeric", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["n"])],
        [*weights, axes],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(graph, ir_version=8, opset_imports=opsets).SerializeToString())


def declare(box: Box, home: Path) -> None:
    project = parse_project(
        f'[project]\nname = "{MODEL}"\n[data]\nsource = "x.csv"\n[model]\ntask = "regression"\n'
        f'target = "y"\nfeatures = ["a", "b"]\n'
    )
    box.projects.register(LoadedProject(home, project))


def register(box: Box, seed: int) -> ModelVersion:
    """A version that does not serve yet."""
    import onnxruntime

    packed = network(seed)
    session = onnxruntime.InferenceSession(packed, providers=["CPUExecutionProvider"])
    matrix = np.array([[ROW[name] for name in NAMES]], dtype=np.float32)
    expected = float(session.run(["prediction"], {"numeric": matrix})[0][0])
    golden = Golden((ROW,) * 8, prediction=(expected,) * 8)
    files = {
        PACKED_FILE: box.objects.put_bytes(packed, kind="model"),
        GOLDEN_FILE: box.objects.put_bytes(golden.to_json().encode(), kind="golden"),
    }
    signature = Signature("regression", "y", tuple(Feature(name, "numeric", "double") for name in NAMES))
    draft = VersionDraft(MODEL, MODEL, "regression", True, signature, files, {}, (), "none", None)
    return box.models.register(draft)
