"""The OpenAPI document: made from the table of routes, so that no route is missing and none is invented."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mlops_box import __version__
from mlops_box.models.values import Feature
from mlops_box.serving.authorization import WITHOUT_TOKEN
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
        "Predict rows with the model that the body names", "Prediction", "NamedRows", errors=_PREDICTING
    ),
    ("POST", "/features/{view}"): Operation(
        "Store events of a feature view's source; the next prediction sees them", "Pushed", "Events", errors=("404", "422", "429"),
    ),
    ("GET", "/features/{view}"): Operation(
        "The features of the entity that the query names, now", "Features", errors=("404", "422")
    ),
    ("GET", "/models"): Operation("Every model with a champion", "Models"),
    ("GET", "/models/{name}"): Operation(
        "One model version: signature, metrics", "ModelVersion", errors=_MODEL
    ),
    ("GET", "/livez"): Operation("The process lives", "Alive"),
    ("GET", "/readyz"): Operation("Every champion is warm", "Readiness", unready=True),
    ("GET", "/metrics"): Operation("Metrics for Prometheus", ""),
    ("GET", "/docs.json"): Operation("This document", "Document"),
    ("POST", "/edge/sync"): Operation(
        "Devices: take over a batch that a device of this box signed; acknowledged under the box's signature",
        "Envelope", "Envelope", errors=("422",),
    ),
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


@dataclass(frozen=True)
class Example:
    """A model, and a row that it reads."""

    model: str
    features: tuple[Feature, ...]

    @property
    def row(self) -> dict[str, Any]:
        return {feature.name: _example_value(feature) for feature in self.features}

    def body(self, schema: str) -> dict[str, Any] | None:
        """An example of a body of that schema."""
        if schema == "Rows":
            return {"rows": [self.row]}
        if schema == "NamedRows":
            return {"model": self.model, "rows": [self.row]}
        if schema == "InferRequest":
            return {"inputs": [_example_input(name, value) for name, value in self.row.items()]}
        return None


def openapi(routes: Iterable[Route], *, needs_token: bool, example: Example | None = None) -> dict[str, Any]:
    """The document, OpenAPI 3.0.

    Args:
        needs_token: Tokens are asked for.
        example: For whoever tries it out: a model of this box.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = OPERATIONS.get((route.method, route.path)) or Operation(route.path, "")
        told = _operation(route, operation, needs_token, example)
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
    route: Route, operation: Operation, needs_token: bool, example: Example | None
) -> dict[str, Any]:
    asks = needs_token and route.needs not in WITHOUT_TOKEN
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
    if parameters := [_parameter(name, example) for name in re.findall(r"\{(\w+)\}", route.path)]:
        told["parameters"] = parameters
    if operation.body is not None:
        told["requestBody"] = {"required": True, "content": _body_content(operation, example)}
    if asks:
        told["security"] = [{"token": []}]
        told["description"] = f"Needs the scope `{route.needs}`."
    return told


def _error_schema(name: str) -> dict[str, Any]:
    """Under /v2 what is refused before a route sees it has the shape of all other paths."""
    return ref(name) if name == "Error" else {"anyOf": [ref(name), ref("Error")]}


def _parameter(name: str, example: Example | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": name, "in": "path", "required": True, "schema": PATH_PARAMETERS[name], "description": PARAMETER_TEXTS[name],
    }  # fmt: skip
    if name in ("name", "model") and example is not None:
        found["example"] = example.model
    return found


def _answer_content(operation: Operation) -> dict[str, Any]:
    if not operation.answer:
        return {kind: {"schema": {"type": "string"}} for kind in METRICS}
    return {JSON: {"schema": ref(operation.answer)}, **_binary(operation)}


def _body_content(operation: Operation, example: Example | None) -> dict[str, Any]:
    assert operation.body is not None
    json: dict[str, Any] = {"schema": ref(operation.body)}
    if example is not None and (body := example.body(operation.body)) is not None:
        json["example"] = body
    return {JSON: json, **_binary(operation)}


def _example_value(feature: Feature) -> Any:
    if feature.values:
        return feature.values[0]
    return True if feature.type == "boolean" else 1


def _example_input(name: str, value: Any) -> dict[str, Any]:
    kind = "BYTES" if isinstance(value, str) else "BOOL" if isinstance(value, bool) else "FP64"
    return {"name": name, "shape": [1, 1], "datatype": kind, "data": [value]}


def _binary(operation: Operation) -> dict[str, Any]:
    return {kind: {"schema": {"type": "string", "format": "binary"}} for kind in operation.also}
