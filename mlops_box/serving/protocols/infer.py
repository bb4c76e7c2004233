"""An inference request and its answer over REST: JSON, and raw tensors behind the JSON where a client wants them.

Source: https://github.com/kserve/open-inference-protocol (REST), and Triton's binary tensor data extension:
``Inference-Header-Content-Length`` bytes of JSON, then the tensors with ``binary_data_size``, in the order of the JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlops_box.errors import UsageError
from mlops_box.json_bytes import dumps
from mlops_box.serving.json_body import load_json
from mlops_box.serving.protocols.tensors import Tensor, from_list, from_raw, tensor_shape, to_raw

MAX_ID = 256
MAX_INPUTS = 4096
MAX_OUTPUTS = 64
EXPLAIN = "explain"
_EXAMPLE = 'send {"inputs": [{"name": "x", "shape": [2, 1], "datatype": "FP64", "data": [1, 2]}]}'
_SIZE_KEY = "binary_data_size"
_REQUEST_KEYS = ("id", "parameters", "inputs", "outputs")
_INPUT_KEYS = ("name", "shape", "datatype", "parameters", "data")
_OUTPUT_KEYS = ("name", "parameters")
# Parameters that would change the answer, and that we do not know.
_REFUSED = ("shared_memory_region", "classification")


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What is asked, whatever it came over.

    Attributes:
        id: Comes back in the answer.
        outputs: Names of the outputs that are wanted; ``None`` for all.
        binary: The wanted outputs that are to come raw.
        all_binary: All outputs are to come raw, unless they are named with another wish.
        explain: Say which features were looked up.
    """

    id: str | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...] | None = None
    binary: frozenset[str] = frozenset()
    all_binary: bool = False
    explain: bool = False

    def wants_raw(self, output: str) -> bool:
        return output in self.binary if self.outputs is not None else self.all_binary


@dataclass(frozen=True, slots=True)
class InferAnswer:
    """What is answered.

    Attributes:
        prediction_id: Of the first row; the next ones count up from it.
        features: What was looked up, as JSON; ``None``: nobody asked.
    """

    model: str
    version: str
    id: str | None
    prediction_id: str
    outputs: Sequence[Tensor]
    features: str | None = None

    @property
    def parameters(self) -> dict[str, str]:
        """What is told of the whole answer."""
        explained = {"features": self.features} if self.features is not None else {}
        return {"prediction_id": self.prediction_id, **explained}


def parse_request(body: bytes, header_length: bytes | None) -> InferRequest:
    """The request of a body.

    Args:
        header_length: The header ``Inference-Header-Content-Length``; ``None`` without one: all is JSON.

    Raises:
        MalformedBody: Its JSON is none.
        UsageError: It is no inference request.
    """
    head, tail = _cut(body, header_length)
    content = load_json(head)
    _check_keys(content, _REQUEST_KEYS, "the request")
    inputs = content.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise UsageError("the request has no inputs", hint=_EXAMPLE)
    check_count(len(inputs), MAX_INPUTS, "inputs")
    tensors: list[Tensor] = []
    for item in inputs:
        tensor, tail = _input(item, tail)
        tensors.append(tensor)
    if tail:
        raise UsageError(
            f"{len(tail)} bytes are left behind the binary inputs",
            hint="binary_data_size of the inputs and Inference-Header-Content-Length must add up to the body",
        )
    parameters = _parameters(content, "the request")
    all_binary = _flag(parameters, "binary_data_output", False)
    outputs, binary = _outputs(content.get("outputs"), all_binary)
    return InferRequest(
        _request_id(content.get("id")), tuple(tensors), outputs, binary, all_binary,
        wants_features(parameters.get(EXPLAIN)),
    )  # fmt: skip


def write_answer(answer: InferAnswer, request: InferRequest) -> tuple[bytes, int | None]:
    """The body of an answer, and how much of it is JSON where raw tensors follow."""
    tail: list[bytes] = []
    outputs: list[dict[str, Any]] = []
    for tensor in answer.outputs:
        told: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        parameters: dict[str, Any] = dict(tensor.parameters or {})
        if request.wants_raw(tensor.name):
            tail.append(to_raw(tensor))
            parameters[_SIZE_KEY] = len(tail[-1])
        if parameters:
            told["parameters"] = parameters
        if _SIZE_KEY not in parameters:
            told["data"] = tensor.values.tolist() if tensor.values.dtype == object else tensor.values
        outputs.append(told)
    content: dict[str, Any] = {
        "model_name": answer.model,
        "model_version": answer.version,
        "parameters": answer.parameters,
        "outputs": outputs,
    }
    if answer.id is not None:
        content["id"] = answer.id
    head = dumps(content)
    return (b"".join((head, *tail)), len(head)) if tail else (head, None)


def _cut(body: bytes, header_length: bytes | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    if not header_length.isdigit() or len(header_length) > 12 or int(header_length) > len(body):
        raise UsageError(
            f"Inference-Header-Content-Length is {header_length[:20].decode('latin-1')!r}; the body has {len(body)} bytes",
            hint="send how many bytes of the body are JSON; plain JSON goes as application/json",
        )
    size = int(header_length)
    return body[:size], memoryview(body)[size:]


def _input(item: Any, tail: memoryview) -> tuple[Tensor, memoryview]:
    _check_keys(item, _INPUT_KEYS, "an input")
    name = item.get("name")
    if not isinstance(name, str) or not name:
        raise UsageError("an input has no name", hint=_EXAMPLE)
    shape = tensor_shape(name, item.get("shape"), item.get("datatype"))
    parameters = _parameters(item, f"input {name[:60]!r}") if "parameters" in item else {}
    if _SIZE_KEY not in parameters:
        if "data" not in item:
            raise UsageError(f"input {name[:60]!r} has no data", hint=_EXAMPLE)
        return from_list(name, item["datatype"], shape, item["data"]), tail
    size = parameters[_SIZE_KEY]
    if type(size) is not int or size < 0 or size > len(tail):
        raise UsageError(
            f"input {name[:60]!r} has the binary_data_size {str(size)[:20]}; {len(tail)} bytes are left of the body",
            hint="send the tensors behind the JSON, whose size is the header Inference-Header-Content-Length",
        )
    if "data" in item:
        raise UsageError(f"input {name[:60]!r} has both data and binary_data_size")
    return from_raw(name, item["datatype"], shape, tail[:size]), tail[size:]


def _outputs(items: Any, all_binary: bool) -> tuple[tuple[str, ...] | None, frozenset[str]]:
    if items is None or items == []:
        return None, frozenset()
    if not isinstance(items, list):
        raise UsageError("`outputs` is no list", hint='send {"outputs": [{"name": "prediction"}]}')
    check_count(len(items), MAX_OUTPUTS, "outputs")
    names: list[str] = []
    binary: set[str] = set()
    for item in items:
        _check_keys(item, _OUTPUT_KEYS, "an output")
        name = item.get("name")
        if not isinstance(name, str) or name in names:
            raise UsageError("an output has no name of its own", hint='send {"name": "prediction"}')
        names.append(name)
        if _flag(_parameters(item, f"output {name[:60]!r}"), "binary_data", all_binary):
            binary.add(name)
    return tuple(names), frozenset(binary)


def check_count(count: int, limit: int, what: str) -> None:
    """Pass, or refuse more than any model has: to be asked before they are looked at.

    Raises:
        UsageError: There are more.
    """
    if count > limit:
        raise UsageError(f"the request has {count} {what}; {limit} are the most")


def check_parameters(keys: Sequence[str], owner: str) -> None:
    """Pass, or refuse a parameter that would change the answer and is not known here; others are ignored.

    Raises:
        UsageError: There is one.
    """
    for key in keys:
        if key in _REFUSED:
            raise UsageError(
                f"{owner} has the parameter {key!r}, which is not offered here",
                hint="send tensors as they are",
            )


def wants_features(value: object) -> bool:
    """Whether the parameter ``explain`` asks for what was looked up.

    Raises:
        UsageError: It asks for something else.
    """
    if value not in (None, "features"):
        raise UsageError(
            f"the parameter explain is {str(value)[:60]!r}", hint='send "features", or leave it out'
        )
    return value is not None


def request_id_of(value: str) -> str | None:
    """The id of a request; none when it is empty.

    Raises:
        UsageError: It is too long.
    """
    if len(value) > MAX_ID:
        raise UsageError(f"the request's id has {len(value)} characters", hint=f"send up to {MAX_ID}")
    return value or None


def _parameters(item: dict[str, Any], owner: str) -> dict[str, Any]:
    found = item.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UsageError(f"the parameters of {owner} are no object")
    check_parameters(list(found), owner)
    return found


def _flag(parameters: dict[str, Any], key: str, default: bool) -> bool:
    value = parameters.get(key, default)
    if type(value) is not bool:
        raise UsageError(f"the parameter {key} is neither true nor false")
    return value


def _request_id(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise UsageError("the request's id is no text")
    return request_id_of(value)


def _check_keys(item: Any, known: Sequence[str], what: str) -> None:
    if not isinstance(item, dict):
        raise UsageError(f"{what} is no JSON object", hint=_EXAMPLE)
    for key in item:
        if key not in known:
            import difflib

            near = difflib.get_close_matches(key[:60], known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it may have {', '.join(known)}"
            raise UsageError(f"{what} has an unknown key {key[:60]!r}", hint=hint)
