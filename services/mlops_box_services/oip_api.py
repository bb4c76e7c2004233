"""The Open Inference Protocol (version 2) over HTTP: health, metadata, inference with JSON or raw tensors.

Clients of the protocol read ``error`` as a text, so an error under ``/v2`` is our one shape laid flat:
``{"error": message, "code", "message", "hint", "details"}``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from mlops_box import __version__
from mlops_box.errors import BoxError, NotFoundError
from mlops_box.json_bytes import dumps
from mlops_box.models.values import ModelVersion
from mlops_box.serving.predictor import Rows
from mlops_box.serving.protocols.entities import input_infos, read_tensors
from mlops_box.serving.protocols.infer import InferAnswer, InferRequest, parse_request, write_answer
from mlops_box.serving.protocols.interface import PLATFORM, Interface, Interfaces, TensorInfo
from mlops_box.serving.slot import Slot
from mlops_box_services.asking import Call, ask, looked_up, slot_of
from mlops_box_services.exchange import JSON_TYPE, OCTETS, Answer, Exchange, json_answer
from mlops_box_services.routes import Route
from mlops_box_services.runtime import Runtime

ROOT = "/v2"
SERVER_NAME = "mlops-box"
EXTENSIONS = ("binary_tensor_data",)
HEADER_LENGTH = b"inference-header-content-length"


def routes() -> list[Route]:
    interfaces = Interfaces()

    async def metadata(exchange: Exchange, model: str, version: str = "") -> Answer:
        return json_answer(await model_metadata(exchange.runtime, interfaces, model, version))

    async def infer(exchange: Exchange, model: str, version: str = "") -> Answer:
        body = await exchange.body()
        # A request that is none is refused before a model is looked for, or loaded.
        request = parse_request(body, _header_length(exchange))
        return _answer(request, await infer_with(exchange, interfaces, model, version, request))

    found = [
        Route("GET", "/v2", _server, "predict"),
        Route("GET", "/v2/health/live", _live, "predict"),
        Route("GET", "/v2/health/ready", _ready, "predict"),
    ]
    for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        found += [
            Route("GET", path, metadata, "predict"),
            Route("GET", f"{path}/ready", _model_ready, "predict"),
            Route("POST", f"{path}/infer", infer, "predict"),
        ]
    return found


async def infer_with(
    call: Call, interfaces: Interfaces, model: str, version: str, request: InferRequest
) -> InferAnswer:
    """The answer to a request of either transport.

    Args:
        version: A number or an alias; empty for the champion.

    Raises:
        BoxError: See :func:`ask`, :meth:`Interface.read`.
    """

    def rows_for(slot: Slot) -> Rows:
        interface = interfaces.of(slot.version)
        interface.check_outputs(request.outputs or ())
        return read_tensors(request.inputs, interface, slot.door, slot.entities)

    slot, reply = await ask(call, reference(model, version), rows_for)
    outputs = interfaces.of(slot.version).write(reply.answers, reply.ids, request.outputs)
    features = dumps(looked_up(slot, reply), default=str).decode() if request.explain else None
    return InferAnswer(
        slot.version.model, str(slot.version.number), request.id, reply.ids[0], outputs, features
    )


async def model_metadata(
    runtime: Runtime, interfaces: Interfaces, model: str, version: str
) -> dict[str, Any]:
    """What the protocol calls a model's metadata: name, versions, platform, inputs, outputs.

    Raises:
        BoxError: No such model or version, or it cannot be loaded.
    """
    slot = await slot_of(runtime, reference(model, version))
    loop = asyncio.get_running_loop()
    versions = await loop.run_in_executor(None, _versions, runtime, slot.version.model)
    interface: Interface = interfaces.of(slot.version)
    inputs: Sequence[TensorInfo] = interface.inputs
    if slot.entities is not None:
        keys = await loop.run_in_executor(None, _keys, runtime, slot.version)
        inputs = input_infos(inputs, keys, slot.entities.looked_up)
    return {
        "name": slot.version.model,
        "versions": versions,
        "platform": PLATFORM,
        "inputs": [info.to_dict() for info in inputs],
        "outputs": [info.to_dict() for info in interface.outputs],
    }


async def is_ready(runtime: Runtime) -> bool:
    """What ``/readyz`` says: for all workers, where there are several."""
    family = runtime.family
    found = runtime.readiness() if family is None else await family.readiness()
    return bool(found["ready"])


async def is_model_ready(runtime: Runtime, model: str, version: str) -> bool:
    """Whether it can answer: a champion that is warm, or a version that could be loaded.

    Raises:
        NotFoundError: There is no such model or version.
    """
    if not version and "@" not in model:
        route = next((route for route in runtime.router.routes() if route.model == model), None)
        if route is not None:
            return route.is_warm
    try:
        await slot_of(runtime, reference(model, version))
    except NotFoundError:
        raise
    except BoxError:
        return False
    return True


def reference(model: str, version: str) -> str:
    """``name@version`` as the other routes name it."""
    return f"{model}@{version}" if version else model


def _versions(runtime: Runtime, model: str) -> list[str]:
    found = runtime.box.models.list(model)
    return [str(version.number) for version in reversed(found) if version.state == "accepted"]


def _keys(runtime: Runtime, version: ModelVersion) -> dict[str, str]:
    """The columns that name the entities of a version's features, with their types."""
    definitions = runtime.box.features.pinned(version.lineage).values()
    return {column.name: column.type for definition in definitions for column in definition.entity}


async def _server(exchange: Exchange) -> Answer:
    return json_answer({"name": SERVER_NAME, "version": __version__, "extensions": EXTENSIONS})


async def _live(exchange: Exchange) -> Answer:
    return json_answer({"live": True})


async def _ready(exchange: Exchange) -> Answer:
    ready = await is_ready(exchange.runtime)
    return json_answer({"ready": ready, "live": True}, 200 if ready else 503)


async def _model_ready(exchange: Exchange, model: str, version: str = "") -> Answer:
    ready = await is_model_ready(exchange.runtime, model, version)
    return json_answer({"name": model, "ready": ready}, 200 if ready else 503)


def _header_length(exchange: Exchange) -> bytes | None:
    found = exchange.header(HEADER_LENGTH)
    if found is None and exchange.header(b"content-type") == OCTETS:
        # All of it would be JSON, which its type denies.
        return b""
    return found


def _answer(request: InferRequest, answer: InferAnswer) -> Answer:
    body, head = write_answer(answer, request)
    version = (b"x-model-version", answer.version.encode())
    if head is None:
        return Answer(200, body, JSON_TYPE, (version,))
    return Answer(200, body, OCTETS, (version, (HEADER_LENGTH, b"%d" % head)))
