"""Rows as JSON in, predictions out, and ground truth afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlops_box.errors import BoxError, UsageError
from mlops_box.json_bytes import dumps
from mlops_box.serving.door import parse_object
from mlops_box.serving.predictor import Reply, Rows
from mlops_box.serving.protocols.arrow import CONTENT_TYPE, read_stream, write_stream
from mlops_box.serving.protocols.interface import Interface
from mlops_box.serving.replies import json_reply, octets_reply
from mlops_box.serving.slot import Slot
from mlops_box.serving.truth import TruthReader, truth_items
from mlops_box_services.asking import ask, looked_up, slot_of
from mlops_box_services.exchange import JSON_TYPE, OCTETS, Answer, Exchange, json_answer, json_body
from mlops_box_services.routes import Route

ARROW = CONTENT_TYPE.encode()


def routes() -> list[Route]:
    return [
        Route("POST", "/models/{name}/predict", predict, "predict"),
        Route("POST", "/models/{name}/feedback", feedback, "feedback"),
        Route("POST", "/predict", predict_named, "predict"),
    ]


async def predict(exchange: Exchange, name: str) -> Answer:
    """``{"rows": [...]}``, where the model has features that are looked up ``{"entities": [...], "rows": [...]}``, rows as
    raw little-endian float32, or an Arrow stream, to a model named in the path."""
    body = await exchange.body()
    kind = exchange.header(b"content-type")
    if kind == OCTETS:
        return await _predict(exchange, name, lambda slot: slot.door.parse_matrix(body))
    if kind == ARROW:
        return await _predict(exchange, name, lambda slot: _read_arrow(slot, body))
    return await _predict(exchange, name, lambda slot: _read_rows(slot, body))


async def predict_named(exchange: Exchange) -> Answer:
    """``{"model": ..., "rows": [...]}``: the API that BentoML declares."""
    request = parse_object(await json_body(exchange), allowed=("model", "rows"))
    if not isinstance(request["model"], str):
        raise UsageError("`model` is no text", hint='send "name" or "name@7"')
    return await _predict(exchange, request["model"], lambda slot: slot.door.checked(request["rows"]))


async def feedback(exchange: Exchange, name: str) -> Answer:
    """Ground truth for earlier predictions, all or nothing."""
    runtime = exchange.runtime
    body = await json_body(exchange)
    slot = exchange.slot = await slot_of(runtime, name)
    try:
        truths = TruthReader(slot.version.signature).read_all(truth_items(body))
        runtime.predictor.store_truth(slot.version.model, truths)
    except BoxError as error:
        runtime.metrics.failed(slot.version.model, str(slot.version.number), f"feedback_{error.code}")
        raise
    return json_answer({"model": slot.version.model, "stored": len(truths)})


async def _predict(exchange: Exchange, name: str, rows_for: Callable[[Slot], Rows]) -> Answer:
    slot, reply = await ask(exchange, name, rows_for)
    explained = _explained(exchange, slot, reply)
    accept = exchange.header(b"accept")
    if accept == OCTETS:
        return _octets(slot, reply)
    if accept == ARROW:
        return _arrow(slot, reply, explained)
    body = json_reply(slot.ref, slot.version.signature, reply.answers, reply.ids, more=explained)
    return Answer(200, body, JSON_TYPE, ((b"x-model-version", slot.number_header),))


def _read_rows(slot: Slot, body: bytes) -> Rows:
    return slot.entities.parse(body) if slot.entities is not None else slot.door.parse(body)


def _explained(exchange: Exchange, slot: Slot, reply: Reply) -> dict[str, Any] | None:
    """With ``?explain=features``: what was looked up for the rows; ``null`` where nothing was."""
    if exchange.scope.get("query_string") != b"explain=features":
        return None
    return {"features": looked_up(slot, reply)}


def _octets(slot: Slot, reply: Reply) -> Answer:
    """The first row's id is in a header; the next rows count up from it."""
    headers = ((b"x-model-version", slot.number_header), (b"x-prediction-id", reply.ids[0].encode()))
    return Answer(200, octets_reply(reply.answers), OCTETS, headers)


def _read_arrow(slot: Slot, body: bytes) -> Rows:
    return read_stream(body, Interface(slot.version.signature), slot.door, slot.entities)


def _arrow(slot: Slot, reply: Reply, explained: dict[str, Any] | None) -> Answer:
    features = dumps(explained["features"], default=str).decode() if explained is not None else None
    body = write_stream(slot.version.signature, slot.ref, reply.answers, reply.ids, features=features)
    return Answer(200, body, ARROW, ((b"x-model-version", slot.number_header),))
