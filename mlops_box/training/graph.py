"""The exported graph: preprocessing, the trained core, and outputs under fixed names.

Two graphs with the same nodes leave here: *packed* reads a number matrix and a text matrix (the server's), *named* reads
one [rows, 1] input a feature (everybody else's).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mlops_box.errors import TrainingError
from mlops_box.models.runtime import LABEL, NUMERIC_INPUT, PREDICTION, PROBABILITY, TEXT_INPUT
from mlops_box.models.values import Signature
from mlops_box.training.preprocess import Preprocessor

# What every onnxruntime of the supported range can run, and what skl2onnx and torch both write.
OPSET = 18
ML_OPSET = 3
IR_VERSION = 8
_CORE = "core/"
_OWN = "box/"
_ROWS = "rows"

Link = Literal["identity", "exp", "softmax"]


@dataclass(frozen=True)
class Core:
    """A trained model as a graph from the feature matrix on.

    Attributes:
        model: An ``onnx.ModelProto`` with one input, float [rows, width].
        output: The name of the output that counts: predictions, probabilities or logits.
        link: What turns that output into the answer.
    """

    model: Any
    output: str
    link: Link = "identity"


@dataclass(frozen=True)
class ExportedGraphs:
    """Serialised; the same training gives the same bytes."""

    named: bytes
    packed: bytes


def assemble(preprocessor: Preprocessor, core: Core, signature: Signature) -> ExportedGraphs:
    """Join preprocessing and core into both graphs, and check them.

    Raises:
        TrainingError: A feature's name collides with one of the graph's own.
    """
    _check_names(signature)
    packed = _Graph()
    _packed_inputs(packed, signature)
    named = _Graph()
    _named_inputs(named, signature)
    for graph in (packed, named):
        matrix = _preprocessing(graph, preprocessor)
        _answer(graph, _join_core(graph, core, matrix), core.link, signature)
    return ExportedGraphs(
        named=named.serialise(core.model, signature), packed=packed.serialise(core.model, signature)
    )


@dataclass
class _Graph:
    """A graph under construction."""

    nodes: list[Any] = field(default_factory=list)
    tensors: list[Any] = field(default_factory=list)
    sparse: list[Any] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)

    def constant(self, name: str, value: npt.ArrayLike, dtype: Any) -> str:
        from onnx import numpy_helper

        self.tensors.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), _OWN + name))
        return _OWN + name

    def add(
        self, operator: str, inputs: list[str], output: str, *, domain: str = "", **attributes: Any
    ) -> str:
        from onnx import helper

        name = f"{_OWN}node{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, inputs, [output], name=name, domain=domain, **attributes)
        )
        return output

    def serialise(self, core: Any, signature: Signature) -> bytes:
        import onnx
        from onnx import helper

        graph = helper.make_graph(self.nodes, "mlops-box", self.inputs, self.outputs, self.tensors)
        graph.sparse_initializer.extend(self.sparse)
        model = helper.make_model(
            graph, producer_name="mlops-box", ir_version=IR_VERSION, opset_imports=_opsets(core)
        )  # fmt: skip
        if signature.classes is not None:
            import json

            helper.set_model_props(model, {"classes": json.dumps(signature.classes)})
        onnx.checker.check_model(model, full_check=False)
        data: bytes = model.SerializeToString(deterministic=True)
        return data


def _check_names(signature: Signature) -> None:
    for feature in signature.features:
        if feature.name.startswith((_CORE, _OWN)):
            raise TrainingError(
                f"a feature may not begin with {_CORE!r} or {_OWN!r}: {feature.name!r}",
                hint="give it another name in [data].query",
            )


def _packed_inputs(graph: _Graph, signature: Signature) -> None:
    from onnx import TensorProto, helper

    for name, features, kind in (
        (NUMERIC_INPUT, signature.numeric, TensorProto.FLOAT),
        (TEXT_INPUT, signature.categorical, TensorProto.STRING),
    ):
        if features:
            graph.inputs.append(helper.make_tensor_value_info(name, kind, [_ROWS, len(features)]))
            graph.add("Identity", [name], f"{_OWN}{name}")


def _named_inputs(graph: _Graph, signature: Signature) -> None:
    from onnx import TensorProto, helper

    for feature in signature.features:
        kind = TensorProto.FLOAT if feature.kind == "numeric" else TensorProto.STRING
        graph.inputs.append(helper.make_tensor_value_info(feature.name, kind, [_ROWS, 1]))
    for name, features in ((NUMERIC_INPUT, signature.numeric), (TEXT_INPUT, signature.categorical)):
        if features:
            graph.add("Concat", list(features), f"{_OWN}{name}", axis=1)


def _preprocessing(graph: _Graph, preprocessor: Preprocessor) -> str:
    parts: list[str] = []
    if preprocessor.numeric:
        parts.append(_numbers(graph, preprocessor))
    for index, values in enumerate(preprocessor.values):
        if values:
            parts.append(_one_hot(graph, index, values))
    return graph.add("Concat", parts, f"{_OWN}features", axis=1)


def _numbers(graph: _Graph, preprocessor: Preprocessor) -> str:
    source = f"{_OWN}{NUMERIC_INPUT}"
    missing = graph.add("IsNaN", [source], f"{_OWN}missing")
    fill = graph.constant("fill", preprocessor.fill.reshape(1, -1), np.float32)
    value = graph.add("Where", [missing, fill, source], f"{_OWN}filled")
    if preprocessor.mean is None or preprocessor.inverse_scale is None:
        return value
    mean = graph.constant("mean", preprocessor.mean.reshape(1, -1), np.float32)
    scale = graph.constant("inverse_scale", preprocessor.inverse_scale.reshape(1, -1), np.float32)
    return graph.add("Mul", [graph.add("Sub", [value, mean], f"{_OWN}centred"), scale], f"{_OWN}scaled")


def _one_hot(graph: _Graph, index: int, values: tuple[str, ...]) -> str:
    place = graph.constant(f"place{index}", [index], np.int64)
    column = graph.add("Gather", [f"{_OWN}{TEXT_INPUT}", place], f"{_OWN}category{index}", axis=1)
    encoded = graph.add(
        "OneHotEncoder", [column], f"{_OWN}encoded{index}", domain="ai.onnx.ml",
        cats_strings=list(values), zeros=1,
    )  # fmt: skip
    shape = graph.constant(f"shape{index}", [-1, len(values)], np.int64)
    return graph.add("Reshape", [encoded, shape], f"{_OWN}hot{index}")


def _join_core(graph: _Graph, core: Core, matrix: str) -> str:
    """The core's nodes under names of their own; returns the name of its answer."""
    from onnx import compose

    renamed = compose.add_prefix_graph(core.model.graph, _CORE)
    graph.add("Identity", [matrix], renamed.input[0].name)
    for node in renamed.node:
        node.doc_string = ""
        # Exporters leave stack traces with paths of the machine here.
        del node.metadata_props[:]
    graph.nodes += renamed.node
    graph.tensors += renamed.initializer
    graph.sparse += renamed.sparse_initializer
    return _CORE + core.output


def _answer(graph: _Graph, output: str, link: Link, signature: Signature) -> None:
    from onnx import TensorProto, helper

    value = graph.add("Cast", [output], f"{_OWN}answer", to=TensorProto.FLOAT)
    if link == "exp":
        value = graph.add("Exp", [value], f"{_OWN}linked")
    if link == "softmax":
        value = graph.add("Softmax", [value], f"{_OWN}linked", axis=-1)
    if signature.classes is None:
        graph.add("Reshape", [value, graph.constant("flat", [-1], np.int64)], PREDICTION)
        graph.outputs.append(helper.make_tensor_value_info(PREDICTION, TensorProto.FLOAT, [_ROWS]))
        return
    classes = len(signature.classes)
    graph.add("Reshape", [value, graph.constant("by_class", [-1, classes], np.int64)], PROBABILITY)
    graph.add("ArgMax", [PROBABILITY], LABEL, axis=1, keepdims=0)
    graph.outputs += [
        helper.make_tensor_value_info(PROBABILITY, TensorProto.FLOAT, [_ROWS, classes]),
        helper.make_tensor_value_info(LABEL, TensorProto.INT64, [_ROWS]),
    ]


def _opsets(core: Any) -> list[Any]:
    from onnx import helper

    versions = {item.domain: item.version for item in core.opset_import}
    versions.setdefault("", OPSET)
    versions.setdefault("ai.onnx.ml", ML_OPSET)
    return [helper.make_opsetid(domain, version) for domain, version in sorted(versions.items())]
