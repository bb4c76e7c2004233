"""Messages of the Open Inference Protocol in protobuf, from and to the values that REST uses too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlops_box.errors import UsageError
from mlops_box.serving.protocols.infer import (
    EXPLAIN,
    MAX_INPUTS,
    MAX_OUTPUTS,
    InferAnswer,
    InferRequest,
    check_count,
    check_parameters,
    request_id_of,
    wants_features,
)
from mlops_box.serving.protocols.tensors import (
    BOOL,
    BYTES,
    DTYPES,
    Tensor,
    from_raw,
    objects,
    tensor_shape,
    text_of,
    to_raw,
)
from mlops_box_services.stubs import open_inference_pb2 as pb

# Where InferTensorContents keeps the values of a datatype; FP16 exists as raw bytes only.
_FIELDS = {
    BOOL: "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}


def read_request(message: pb.ModelInferRequest) -> tuple[InferRequest, bool]:
    """The request, and whether its tensors were raw.

    Raises:
        UsageError: It is none.
    """
    raw = message.raw_input_contents
    if not message.inputs:
        raise UsageError("the request has no inputs", hint="send one input a feature: see ModelMetadata")
    if raw and len(raw) != len(message.inputs):
        raise UsageError(
            f"the request has {len(message.inputs)} inputs and {len(raw)} raw_input_contents",
            hint="send the raw contents of every input, or contents in the inputs",
        )
    check_count(len(message.inputs), MAX_INPUTS, "inputs")
    check_count(len(message.outputs), MAX_OUTPUTS, "outputs")
    check_parameters(list(message.parameters), "the request")
    tensors = tuple(_input(item, raw[index] if raw else None) for index, item in enumerate(message.inputs))
    outputs: list[str] = []
    for wanted in message.outputs:
        if wanted.name in outputs:
            raise UsageError(f"the request wants the output {wanted.name[:60]!r} twice")
        check_parameters(list(wanted.parameters), f"output {wanted.name[:60]!r}")
        outputs.append(wanted.name)
    explain = wants_features(_parameter(message.parameters, EXPLAIN))
    return InferRequest(request_id_of(message.id), tensors, tuple(outputs) or None, explain=explain), bool(
        raw
    )


def write_answer(answer: InferAnswer, *, raw: bool) -> pb.ModelInferResponse:
    """The answer as a message; ``raw`` as the request was."""
    message = pb.ModelInferResponse(model_name=answer.model, model_version=answer.version, id=answer.id or "")
    for key, value in answer.parameters.items():
        message.parameters[key].string_param = value
    for tensor in answer.outputs:
        output = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        for key, value in (tensor.parameters or {}).items():
            output.parameters[key].string_param = value
        if raw:
            message.raw_output_contents.append(to_raw(tensor))
        else:
            values = tensor.values.tolist()
            if tensor.datatype == BYTES:
                values = [text.encode() for text in values]
            getattr(output.contents, _FIELDS[tensor.datatype]).extend(values)
    return message


def write_metadata(content: Mapping[str, Any]) -> pb.ModelMetadataResponse:
    """A model's metadata, as REST gives it, as a message."""

    def tensors(items: Sequence[Mapping[str, Any]]) -> list[pb.ModelMetadataResponse.TensorMetadata]:
        return [
            pb.ModelMetadataResponse.TensorMetadata(
                name=item["name"], datatype=item["datatype"], shape=item["shape"],
                parameters={
                    key: pb.InferParameter(string_param=text) for key, text in item.get("parameters", {}).items()
                },
            )
            for item in items
        ]  # fmt: skip

    return pb.ModelMetadataResponse(
        name=content["name"],
        versions=content["versions"],
        platform=content["platform"],
        inputs=tensors(content["inputs"]),
        outputs=tensors(content["outputs"]),
    )


def _parameter(parameters: Mapping[str, pb.InferParameter], key: str) -> object:
    found = parameters.get(key)
    return getattr(found, found.WhichOneof("parameter_choice") or "", None) if found is not None else None


def _input(item: pb.ModelInferRequest.InferInputTensor, raw: bytes | None) -> Tensor:
    name, datatype = item.name, item.datatype
    if not name:
        raise UsageError("an input has no name", hint="see ModelMetadata for the names")
    shape = tensor_shape(name, item.shape, datatype)
    check_parameters(list(item.parameters), f"input {name[:60]!r}")
    if raw is not None:
        if item.HasField("contents"):
            raise UsageError(f"input {name[:60]!r} has contents beside raw_input_contents")
        return from_raw(name, datatype, shape, raw)
    field = _FIELDS.get(datatype)
    if field is None:
        raise UsageError(f"input {name[:60]!r}: {datatype} goes as raw_input_contents only")
    for other, _ in item.contents.ListFields():
        if other.name != field:
            raise UsageError(
                f"input {name[:60]!r} is {datatype} and has {other.name}", hint=f"put its values into {field}"
            )
    values = getattr(item.contents, field)
    count = math.prod(shape)
    if len(values) != count:
        raise UsageError(
            f"input {name[:60]!r} has {len(values)} values; the shape {list(shape)} holds {count}",
            hint="send as many values as the shape says",
        )
    if datatype == BYTES:
        texts = [text_of(name, index, value) for index, value in enumerate(values)]
        return Tensor(name, datatype, shape, objects(texts))
    try:
        array = np.array(values, dtype=DTYPES[datatype])
    except OverflowError:
        raise UsageError(f"input {name[:60]!r} has a value beyond {datatype}") from None
    return Tensor(name, datatype, shape, array)
