"""Runs a packed ONNX model; the one place where model bytes meet onnxruntime.

A model is looked at before it is loaded: data outside the file (onnxruntime follows links to it), operators outside the
standard sets and local functions are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_box.errors import IntegrityError, UsageError
from mlops_box.models.encode import Tensors
from mlops_box.models.signature import Signature

MAX_MODEL_BYTES = 1 << 30
STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
NUMERIC_INPUT = "numeric"
TEXT_INPUT = "text"
PREDICTION = "prediction"
LABEL = "label"
PROBABILITY = "probability"
CPU_PROVIDER = "CPUExecutionProvider"
# onnxruntime's name of where a model runs, with options where there are some.
Provider = str | tuple[str, dict[str, str]]
# Model bytes or a file's name, session options, providers in the order of preference; gives an
# ``onnxruntime.InferenceSession``.
MakeSession = Callable[[bytes | str, Any, list[Provider]], Any]


@dataclass(frozen=True)
class Output:
    """What a model answers; regression fills ``prediction``, classification the other two.

    Attributes:
        prediction: float32 [rows].
        label: int64 [rows], an index into the signature's classes.
        probability: float32 [rows, classes].
    """

    prediction: npt.NDArray[np.float32] | None = None
    label: npt.NDArray[np.int64] | None = None
    probability: npt.NDArray[np.float32] | None = None

    @property
    def rows(self) -> int:
        part = self.prediction if self.prediction is not None else self.label
        return 0 if part is None else int(part.shape[0])


def inspect_model(data: bytes, *, max_bytes: int = MAX_MODEL_BYTES) -> Any:
    """Parse ``data`` and refuse what must not be loaded; returns the ``onnx.ModelProto``.

    Raises:
        IntegrityError: Too large, no ONNX, external data, a foreign operator or a local function.
    """
    import onnx
    from google.protobuf.message import DecodeError

    if len(data) > max_bytes:
        raise IntegrityError(f"the model has {len(data)} bytes; at most {max_bytes} are loaded")
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise IntegrityError("the model's bytes are no ONNX model") from error
    if not model.HasField("graph") or not model.graph.output:
        raise IntegrityError("the model's bytes are no ONNX model: it has no graph")
    if model.functions:
        raise IntegrityError(f"the model defines the operator {model.functions[0].name!r} itself: not loaded")
    for graph in _graphs(model.graph):
        for node in graph.node:
            if node.domain not in STANDARD_DOMAINS:
                raise IntegrityError(
                    f"the model uses {node.domain}.{node.op_type}, which is no standard operator"
                )
        for tensor in _tensors(graph):
            if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
                raise IntegrityError(
                    f"the model keeps {tensor.name!r} in another file: external data are not loaded"
                )
    return model


class Leash:
    """Ends calls of a model that were made with it, and all later ones, within their next operator."""

    def __init__(self) -> None:
        import onnxruntime

        self.options = onnxruntime.RunOptions()

    def pull(self) -> None:
        """From any thread; the calls raise :class:`UsageError`."""
        self.options.terminate = True


class OnnxModel:
    """A packed model, loaded; safe to call from several threads.

    Args:
        packed: The bytes of ``packed.onnx``, which stay in memory beside the session; or the file, where a signature vouches
            for it.
        signature: Its inputs and outputs.
        threads: Threads within one call; 1 is best for small batches and leaves the other cores to other requests.
        providers: Where it may run, the first that can; see :mod:`mlops_box.models.devices`.
        make_session: Makes the session; ``None``: onnxruntime does.
        inspect: Look at the bytes first (see :func:`inspect_model`); not needed where a signature vouches for them.

    Attributes:
        provider: The name of the provider that runs it. onnxruntime passes over one that it cannot load.

    Raises:
        IntegrityError: See :func:`inspect_model`; or the graph does not fit the signature.
    """

    def __init__(
        self,
        packed: bytes | Path,
        signature: Signature,
        *,
        threads: int = 1,
        providers: Sequence[Provider] = (CPU_PROVIDER,),
        make_session: MakeSession | None = None,
        inspect: bool = True,
    ):
        import onnxruntime

        if inspect:
            inspect_model(packed if isinstance(packed, bytes) else packed.read_bytes())
        self._signature = signature
        self._failures = _runtime_errors()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Waiting threads sleep: a spinning pool takes whole cores from the other processes of the box.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = (make_session or onnxruntime.InferenceSession)(
                packed if isinstance(packed, bytes) else str(packed), options, list(providers)
            )
            self.provider = str(self._session.get_providers()[0])
        except self._failures as error:
            raise IntegrityError(f"onnxruntime cannot load the model: {_first_line(error)}") from error
        # The signature counts its features each time it is asked; a call of 20 µs would feel that.
        self._widths = (len(signature.numeric), len(signature.categorical))
        self._names = [PREDICTION] if signature.task == "regression" else [LABEL, PROBABILITY]
        self._fit()

    @property
    def signature(self) -> Signature:
        return self._signature

    def predict(self, tensors: Tensors, leash: Leash | None = None) -> Output:
        """The model's answer for every row of ``tensors``, in order.

        Args:
            leash: Lets another thread end the call.

        Raises:
            UsageError: The tensors do not fit the signature, or the model cannot compute them.
            IntegrityError: The model answers another number of rows than it was asked.
        """
        rows = tensors.rows
        feed = self._feed(tensors)
        if rows == 0:
            return self._output([np.empty((0,)), np.empty((0, len(self._signature.classes or ())))], 0)
        try:
            answers = self._session.run(self._names, feed, leash.options if leash is not None else None)
        except self._failures as error:
            raise UsageError(f"the model cannot compute these rows: {_first_line(error)}") from error
        return self._output(answers, rows)

    def _feed(self, tensors: Tensors) -> dict[str, Any]:
        feed: dict[str, Any] = {}
        wanted = (
            (NUMERIC_INPUT, tensors.numeric, self._widths[0]),
            (TEXT_INPUT, tensors.text, self._widths[1]),
        )
        for name, part, columns in wanted:
            if (0 if part is None else part.shape[1]) != columns:
                raise UsageError(f"the model wants {columns} {name} features in each row")
            if columns:
                feed[name] = part
        return feed

    def _output(self, answers: list[Any], rows: int) -> Output:
        if any(answer.shape[0] != rows for answer in answers):
            raise IntegrityError(f"the model answered {answers[0].shape[0]} rows for {rows}")
        if self._signature.task == "regression":
            return Output(prediction=answers[0].astype(np.float32, copy=False))
        label, probability = answers
        return Output(
            label=label.astype(np.int64, copy=False), probability=probability.astype(np.float32, copy=False)
        )

    def _fit(self) -> None:
        inputs = {item.name: item.type for item in self._session.get_inputs()}
        wanted = {}
        if self._signature.numeric:
            wanted[NUMERIC_INPUT] = "tensor(float)"
        if self._signature.categorical:
            wanted[TEXT_INPUT] = "tensor(string)"
        if inputs != wanted:
            raise IntegrityError(f"the model's inputs are {inputs}, its signature wants {wanted}")
        outputs = {item.name for item in self._session.get_outputs()}
        if not outputs.issuperset(self._names):
            raise IntegrityError(
                f"the model's outputs are {sorted(outputs)}, its signature wants {self._names}"
            )


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph and all graphs within its nodes (branches, loop bodies)."""
    import onnx

    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _graphs(attribute.g)
            for inner in attribute.graphs:
                yield from _graphs(inner)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield sparse.values
                yield sparse.indices


def _runtime_errors() -> tuple[type[Exception], ...]:
    """onnxruntime's errors have no common base but ``Exception``."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    found = (getattr(state, name) for name in dir(state))
    named = [item for item in found if isinstance(item, type) and issubclass(item, Exception)]
    return (*named, ValueError, RuntimeError)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
