"""What the server says about itself: models, and the OpenAPI document."""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import Any

from mlops_box import __version__
from mlops_box.clock import isoformat
from mlops_box.ids import NAME_PATTERN
from mlops_box.serving.records import PREDICTION_ID_PATTERN
from mlops_box.serving.router import Router
from mlops_box.serving.slot import Slot


def model_list(router: Router) -> dict[str, Any]:
    """Every model that has a champion."""
    found = []
    for route in router.routes():
        slot = router.champion(route.model)
        device = asdict(slot.device) if slot else None
        found.append({**asdict(route), "task": slot.version.task if slot else None, "device": device})
    return {"models": found}


def model(slot: Slot, router: Router) -> dict[str, Any]:
    """One version: its signature, metrics and whether it is the one that answers."""
    version = slot.version
    signature = asdict(version.signature)
    champion = router.champion(version.model)
    return {
        "model": version.model,
        "version": version.number,
        "ref": version.ref,
        "is_champion": champion is slot,
        "digest": version.digest,
        "device": asdict(slot.device),
        "task": version.task,
        "target": signature["target"],
        "classes": signature["classes"],
        "features": signature["features"],
        "metrics": version.metrics,
        "snapshot": version.snapshot_id,
        "created_at": isoformat(version.created_at),
    }


def openapi(bentoml_document: dict[str, Any]) -> dict[str, Any]:
    """BentoML's OpenAPI document with our paths; ours win where both know a path."""
    document = copy.deepcopy(bentoml_document)
    document["info"] = {
        "title": "mlops-box",
        "version": __version__,
        "description": "Predictions, ground truth and health of the models of one box.",
    }
    components = document.setdefault("components", {})
    components["schemas"] = {**components.get("schemas", {}), **_SCHEMAS}
    document["paths"] = {**document.get("paths", {}), **_paths()}
    return document


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _answers(description: str, schema: dict[str, Any], *codes: str) -> dict[str, Any]:
    errors = {code: {"description": _ERRORS[code], "content": _content(_ref("Error"))} for code in codes}
    return {"200": {"description": description, "content": _content(schema)}, **errors}


_ERRORS = {
    "400": "Malformed request",
    "403": "Foreign origin",
    "404": "No such model or version",
    "405": "Method not possible here",
    "409": "The version was rejected by its gates",
    "413": "Body too large",
    "415": "Not JSON",
    "421": "Foreign host",
    "422": "The body or a row is wrong; `details` names row, column and rule",
    "429": "Too many rows wait; try again",
    "503": "The answer cannot be logged, or the server is not ready",
}
_GUARD = ("400", "421")
_MODEL_PARAMETER = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "A model, for its champion, or name@7.",
    "schema": {"type": "string", "pattern": NAME_PATTERN[:-1] + r"(@[a-z0-9][a-z0-9._-]{0,63})?$"},
}
_SCHEMAS: dict[str, Any] = {
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "hint", "details"],
                "properties": {
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                    "hint": {"type": "string", "nullable": True},
                    "details": {
                        "oneOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]
                    },
                },
            }
        },
    },
    "Rows": {
        "type": "object",
        "required": ["rows"],
        "additionalProperties": False,
        "properties": {"rows": {"type": "array", "minItems": 1, "items": {"type": "object"}}},
    },
    "Prediction": {
        "type": "object",
        "required": ["model", "predictions", "ids"],
        "properties": {
            "model": {"type": "string", "example": "bikes@7"},
            "predictions": {"type": "array", "items": {}},
            "ids": {"type": "array", "items": {"type": "string", "pattern": f"^{PREDICTION_ID_PATTERN}$"}},
            "probabilities": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
            "classes": {"type": "array", "items": {}},
        },
    },
    "Truths": {
        "type": "object",
        "required": ["truth"],
        "additionalProperties": False,
        "properties": {
            "truth": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["id", "value"],
                    "additionalProperties": False,
                    "properties": {
                        "id": {"type": "string", "pattern": f"^{PREDICTION_ID_PATTERN}$"},
                        "value": {},
                    },
                },
            }
        },
    },
    "Stored": {
        "type": "object",
        "required": ["model", "stored"],
        "properties": {"model": {"type": "string"}, "stored": {"type": "integer"}},
    },
}


def _paths() -> dict[str, Any]:
    posts = (*_GUARD, "403", "404", "409", "413", "415", "422", "429", "503")
    anything = {"type": "object"}
    return {
        "/models/{name}/predict": {
            "post": {
                "summary": "Predict rows",
                "operationId": "predict_model",
                "parameters": [_MODEL_PARAMETER],
                "requestBody": {"required": True, "content": _content(_ref("Rows"))},
                "responses": _answers("One prediction a row", _ref("Prediction"), *posts),
            }
        },
        "/models/{name}/feedback": {
            "post": {
                "summary": "Store ground truth for earlier predictions",
                "operationId": "feedback",
                "parameters": [_MODEL_PARAMETER],
                "requestBody": {"required": True, "content": _content(_ref("Truths"))},
                "responses": _answers("Stored", _ref("Stored"), *posts),
            }
        },
        "/models": {
            "get": {
                "summary": "Every model with a champion",
                "operationId": "models",
                "responses": _answers("Models", anything, *_GUARD),
            }
        },
        "/models/{name}": {
            "get": {
                "summary": "One model version: signature, metrics",
                "operationId": "model",
                "parameters": [_MODEL_PARAMETER],
                "responses": _answers("The version", anything, *_GUARD, "404", "409"),
            }
        },
        "/livez": {
            "get": {
                "summary": "The process lives",
                "operationId": "livez",
                "responses": _answers("It lives", anything, *_GUARD),
            }
        },
        "/readyz": {
            "get": {
                "summary": "Every champion is warm",
                "operationId": "readyz",
                "responses": {
                    **_answers("All are warm", anything, *_GUARD),
                    "503": {"description": "Not ready; `problems` says why", "content": _content(anything)},
                },
            }
        },
        "/metrics": {
            "get": {
                "summary": "Prometheus metrics",
                "operationId": "metrics",
                "responses": {
                    "200": {
                        "description": "Metrics",
                        "content": {"text/plain": {"schema": {"type": "string"}}},
                    }
                },
            }
        },
    }
