"""The OpenAPI document: made from the table of routes, so that no route is missing and none is invented."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_box import __version__
from mlops_box_services.openapi_parts import (
    ANYWHERE,
    ERRORS,
    PARAMETER_TEXTS,
    PATH_PARAMETERS,
    SCHEMAS,
    WITH_TOKEN,
    ref,
)
from mlops_box_services.routes import Route

JSON = "application/json"
OCTETS = "application/octet-stream"
ARROW = "application/vnd.apache.arrow.stream"
METRICS = ("text/plain", "application/openmetrics-text")


@dataclass(frozen=True)
class Operation:
    """What a route does, for readers.

    Attributes:
        answer: The schema of its JSON answer.
        body: The schema of its JSON body; ``None``: it has none.
        also: Further content types of body and answer.
        errors: Statuses beyond those that may happen to any request.
        unready: It answers 503 with the same schema when it is not ready.
    """

    summary: str
    answer: str
    body: str | None = None
    also: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    unready: bool = False


_MODEL = ("404", "409", "422")
_PREDICTING = (*_MODEL, "429")
OPERATIONS: dict[tuple[str, str], Operation] = {
    ("POST", "/models/{name}/predict"): Operation(
        "Predict rows: JSON, raw little-endian float32, or an Arrow stream", "Prediction", "Rows", (OCTETS, ARROW), _PREDICTING,
    ),
    ("POST", "/models/{name}/feedback"): Operation(
        "Store ground truth for earlier predictions", "Stored", "Truths", errors=_MODEL
    ),
    ("POST", "/predict"): Operation(
        "Predict rows with the model that the body names", "Prediction", "NamedRows", (OCTETS, ARROW), _PREDICTING
    ),
    ("GET", "/models"): Operation("Every model with a champion", "Models"),
    ("GET", "/models/{name}"): Operation(
        "One model version: signature, metrics", "ModelVersion", errors=_MODEL
    ),
    ("GET", "/livez"): Operation("The process lives", "Alive"),
    ("GET", "/readyz"): Operation("Every champion is warm", "Readiness", unready=True),
    ("GET", "/metrics"): Operation("Metrics for Prometheus", ""),
    ("GET", "/docs.json"): Operation("This document", "Document"),
    ("GET", "/v2"): Operation("Open Inference Protocol: the server", "ServerMetadata"),
    ("GET", "/v2/health/live"): Operation("Open Inference Protocol: the process lives", "Live"),
    ("GET", "/v2/health/ready"): Operation("Open Inference Protocol: every champion is warm", "Ready", unready=True),
}  # fmt: skip
for _path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
    OPERATIONS["GET", _path] = Operation(
        "Open Inference Protocol: a model's inputs and outputs", "ModelMetadata", errors=_MODEL
    )
    OPERATIONS["GET", f"{_path}/ready"] = Operation(
        "Open Inference Protocol: the model can answer", "ModelReady", errors=_MODEL, unready=True
    )
    OPERATIONS["POST", f"{_path}/infer"] = Operation(
        "Open Inference Protocol: predict", "InferAnswer", "InferRequest", (OCTETS,), _PREDICTING
    )


def openapi(routes: Iterable[Route], *, needs_token: bool, models: Sequence[str] = ()) -> dict[str, Any]:
    """The document, OpenAPI 3.0.

    Args:
        needs_token: Tokens are asked for.
        models: Champions, as examples of a model's name.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = OPERATIONS.get((route.method, route.path)) or Operation(route.path, "")
        told = _operation(route, operation, needs_token, models)
        paths.setdefault(route.path, {})[route.method.lower()] = told
    components: dict[str, Any] = {"schemas": {**SCHEMAS, "Document": {"type": "object"}}}
    if needs_token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "mlops-box", "version": __version__,
            "description": "Predictions, ground truth and health of the models of one box.",
        },
        "paths": paths,
        "components": components,
    }  # fmt: skip


def _operation(
    route: Route, operation: Operation, needs_token: bool, models: Sequence[str]
) -> dict[str, Any]:
    asks = needs_token and route.needs != "open"
    error = "InferenceError" if route.path.startswith("/v2") else "Error"
    codes = {*ANYWHERE, *operation.errors, *(WITH_TOKEN if asks else ())}
    responses: dict[str, Any] = {"200": {"description": "Done", "content": _answer_content(operation)}}
    for code in sorted(codes):
        responses[code] = {"description": ERRORS[code], "content": {JSON: {"schema": _error_schema(error)}}}
    if operation.unready:
        either = {"anyOf": [ref(operation.answer), ref(error), ref("Error")]}
        responses["503"] = {"description": "Not ready", "content": {JSON: {"schema": either}}}
    told: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_"),
        "responses": responses,
    }
    if parameters := [_parameter(name, models) for name in re.findall(r"\{(\w+)\}", route.path)]:
        told["parameters"] = parameters
    if operation.body is not None:
        told["requestBody"] = {"required": True, "content": _body_content(operation)}
    if asks:
        told["security"] = [{"token": []}]
        told["description"] = f"Needs the scope `{route.needs}`."
    return told


def _error_schema(name: str) -> dict[str, Any]:
    """Under /v2 what is refused before a route sees it has the shape of all other paths."""
    return ref(name) if name == "Error" else {"anyOf": [ref(name), ref("Error")]}


def _parameter(name: str, models: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": name, "in": "path", "required": True, "schema": PATH_PARAMETERS[name], "description": PARAMETER_TEXTS[name],
    }  # fmt: skip
    if name != "version" and models:
        found["examples"] = {model: {"value": model} for model in models[:5]}
    return found


def _answer_content(operation: Operation) -> dict[str, Any]:
    if not operation.answer:
        return {kind: {"schema": {"type": "string"}} for kind in METRICS}
    return {JSON: {"schema": ref(operation.answer)}, **_binary(operation)}


def _body_content(operation: Operation) -> dict[str, Any]:
    assert operation.body is not None
    return {JSON: {"schema": ref(operation.body)}, **_binary(operation)}


def _binary(operation: Operation) -> dict[str, Any]:
    return {kind: {"schema": {"type": "string", "format": "binary"}} for kind in operation.also}
