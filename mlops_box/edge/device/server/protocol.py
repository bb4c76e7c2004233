"""The Open Inference Protocol (version 2): health, metadata, inference with JSON or raw tensors."""

from __future__ import annotations

from typing import Callable, Iterator

from mlops_box.serving.protocols.infer import InferAnswer, parse_request, write_answer
from mlops_box.serving.protocols.interface import PLATFORM

from .. import AGENT_VERSION
from .app import PROTOCOL_ROOT as ROOT
from .device import Device
from .exchange import JSON_TYPE, OCTETS, Answer, Request, json_answer
from .model import Served
from .recorder import Rows

SERVER_NAME = "mlops-box-edge"
EXTENSIONS = ("binary_tensor_data",)
HEADER_LENGTH = b"inference-header-content-length"


def routes(device: Device) -> Iterator[tuple[str, str, Callable[..., Answer]]]:
    """(path, method, handler)."""
    about = {"name": SERVER_NAME, "version": str(AGENT_VERSION), "extensions": EXTENSIONS}
    yield ROOT, "GET", lambda request: json_answer(about)
    yield f"{ROOT}/health/live", "GET", lambda request: json_answer({"live": True})
    yield f"{ROOT}/health/ready", "GET", lambda request: json_answer({"ready": True, "live": True})

    def metadata(request: Request, model: str, version: str = "") -> Answer:
        served = device.named(model, version)
        return json_answer(
            {
                "name": served.model,
                "versions": [str(served.number)],
                "platform": PLATFORM,
                "inputs": [info.to_dict() for info in served.interface.inputs],
                "outputs": [info.to_dict() for info in served.interface.outputs],
            }
        )

    def ready(request: Request, model: str, version: str = "") -> Answer:
        device.named(model, version)
        return json_answer({"name": model, "ready": True})

    def infer(request: Request, model: str, version: str = "") -> Answer:
        return _infer(device, request, model, version)

    for path in (f"{ROOT}/models/{{model}}", f"{ROOT}/models/{{model}}/versions/{{version}}"):
        yield path, "GET", metadata
        yield f"{path}/ready", "GET", ready
        yield f"{path}/infer", "POST", infer


def _infer(device: Device, request: Request, model: str, version: str) -> Answer:
    asked = parse_request(request.read_body(), _header_length(request))
    served = device.named(model, version)

    def rows_for(served: Served) -> Rows:
        served.interface.check_outputs(asked.outputs or ())
        return served.interface.read(asked.inputs, served.door)

    answers, ids = device.predict(served, rows_for, request.started_s)
    outputs = served.interface.write(answers, ids, asked.outputs)
    number = str(served.number)
    body, head = write_answer(InferAnswer(served.model, number, asked.id, ids[0], outputs), asked)
    headers = ((b"x-model-version", number.encode()),)
    if head is None:
        return Answer(200, body, JSON_TYPE, headers)
    return Answer(200, body, OCTETS, (*headers, (HEADER_LENGTH, b"%d" % head)))


def _header_length(request: Request) -> bytes | None:
    found = request.header(HEADER_LENGTH)
    if found is None and request.header(b"content-type") == OCTETS:
        return b""  # all of it would be JSON, which its type denies
    return found
