"""The schemas, parameters and errors that the OpenAPI document is put together from."""

from __future__ import annotations

from typing import Any

from mlops_box.ids import NAME_PATTERN
from mlops_box.serving.records import PREDICTION_ID_PATTERN

Schema = dict[str, Any]

ERRORS = {
    "400": "The request or its body is malformed: no HTTP, no JSON, a key twice",
    "401": "No valid token",
    "403": "A foreign origin, or the token does not allow this",
    "404": "No such path, model or version",
    "405": "The path has no such method",
    "408": "The request did not arrive in time",
    "409": "The version was rejected by its gates",
    "413": "The body is too large",
    "415": "A content type that is not read here",
    "421": "A foreign host, or none, or two",
    "422": "The body or a row is wrong; `details` names row, column and rule",
    "429": "Too many rows wait, or too many attempts without a token",
    "431": "The head is too large",
    "500": "An unexpected failure: a bug; the server's log has it under the request id",
    "503": "The server starts, is full, or cannot write the prediction log",
}
# What may happen to any request, before a route sees it.
ANYWHERE = ("400", "403", "405", "408", "413", "415", "421", "431", "500", "503")
WITH_TOKEN = ("401", "429")

MODEL_NAME = NAME_PATTERN[:-1] + r"(@[a-z0-9][a-z0-9._-]{0,63})?$"
_PREDICTION_ID = {"type": "string", "pattern": f"^{PREDICTION_ID_PATTERN}$"}
_PARAMETERS = {"type": "object", "additionalProperties": True}
_SHAPE = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 1_000_000}}
DATATYPES = [
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES",
]  # fmt: skip

_ERROR_FIELDS: dict[str, Schema] = {
    "code": {"type": "string", "example": "contract"},
    "message": {"type": "string"},
    "hint": {"type": "string", "nullable": True},
    "details": {"oneOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]},
}


def _object(required: dict[str, Schema], optional: dict[str, Schema] | None = None, **more: Any) -> Schema:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
        **more,
    }


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(item: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": item, **more}


SCHEMAS: dict[str, Schema] = {
    "Error": _object({"error": _object(_ERROR_FIELDS)}),
    "InferenceError": {
        "description": "The same under /v2, where clients read `error` as a text.",
        **_object({"error": {"type": "string"}, **_ERROR_FIELDS}),
    },
    "Rows": {
        "anyOf": [
            _object({"rows": _list({"type": "object"}, minItems=1)}, additionalProperties=False),
            _object(
                {"entities": _list({"type": "object"}, minItems=1)},
                {"rows": _list({"type": "object"}, minItems=1)},
                description="For a model with features that are looked up: an entity for each row.",
                additionalProperties=False,
            ),
        ]
    },
    "Events": _object(
        {"events": _list({"type": "object"}, minItems=1)},
        {"ids": _list({"type": "string", "minLength": 1})},
        additionalProperties=False,
    ),
    "Pushed": _object(
        {
            "source": {"type": "string"},
            "events": {"type": "integer", "minimum": 0},
            "known": {"type": "integer", "minimum": 0},
            "views": {"type": "object"},
        }
    ),
    "Features": _object(
        {
            "view": {"type": "string"},
            "version": {"type": "integer"},
            "definition": {"type": "string"},
            "entity": {"type": "object"},
            "at": {"type": "string", "format": "date-time"},
            "features": {"type": "object"},
            "observed_at": {"type": "string", "nullable": True},
            "known_at": {"type": "string", "nullable": True},
            "age_s": {"type": "number", "nullable": True},
        }
    ),
    "NamedRows": _object(
        {"model": {"type": "string", "pattern": MODEL_NAME}, "rows": _list({"type": "object"}, minItems=1)},
        additionalProperties=False,
    ),
    "Prediction": _object(
        {
            "model": {"type": "string", "example": "bikes@7"},
            "predictions": _list({}),
            "ids": _list(_PREDICTION_ID),
        },
        {
            "probabilities": _list(_list({"type": "number", "nullable": True})),
            "classes": _list({}),
            "features": _list({"type": "object"}, nullable=True),
        },
    ),
    "Truths": _object(
        {
            "truth": _list(
                _object({"id": _PREDICTION_ID, "value": {}}, additionalProperties=False), minItems=1
            )
        },
        additionalProperties=False,
    ),
    "Envelope": {
        "description": "A DSSE envelope: github.com/secure-systems-lab/dsse, in canonical JSON.",
        **_object(
            {
                "payload": {"type": "string"},
                "payloadType": {"type": "string"},
                "signatures": _list(_object({"keyid": {"type": "string"}, "sig": {"type": "string"}})),
            }
        ),
    },
    "Stored": _object({"model": {"type": "string"}, "stored": {"type": "integer", "minimum": 1}}),
    "Alive": _object({"alive": {"type": "boolean"}}),
    "Route": _object(
        {
            "model": {"type": "string"},
            "champion": {"type": "integer"},
            "serving": {"type": "integer", "nullable": True},
            "problem": {"type": "string", "nullable": True},
        },
        {
            "task": {"type": "string", "nullable": True},
            "last_swap": {"type": "object", "nullable": True},
        },
    ),
    "Readiness": _object(
        {
            "ready": {"type": "boolean"},
            "models": _list(ref("Route")),
            "problems": _list({"type": "string"}),
        }
    ),
    "Models": _object({"models": _list(ref("Route"))}),
    "ModelVersion": _object(
        {
            "model": {"type": "string"},
            "version": {"type": "integer"},
            "ref": {"type": "string"},
            "is_champion": {"type": "boolean"},
            "digest": {"type": "string"},
            "task": {"type": "string"},
            "target": {"type": "string"},
            "classes": {"type": "array", "items": {}, "nullable": True},
            "features": _list({"type": "object"}),
            "metrics": {"type": "object"},
            "created_at": {"type": "string", "format": "date-time"},
        }
    ),
    "ServerMetadata": _object(
        {"name": {"type": "string"}, "version": {"type": "string"}, "extensions": _list({"type": "string"})}
    ),
    "Live": _object({"live": {"type": "boolean"}}),
    "Ready": _object({"ready": {"type": "boolean"}}, {"live": {"type": "boolean"}}),
    "ModelReady": _object({"name": {"type": "string"}, "ready": {"type": "boolean"}}),
    "TensorMetadata": _object(
        {
            "name": {"type": "string"},
            "datatype": {"type": "string", "enum": DATATYPES},
            "shape": _list({"type": "integer", "minimum": -1}),
        },
        {"parameters": _PARAMETERS},
    ),
    "ModelMetadata": _object(
        {
            "name": {"type": "string"},
            "versions": _list({"type": "string"}),
            "platform": {"type": "string"},
            "inputs": _list(ref("TensorMetadata")),
            "outputs": _list(ref("TensorMetadata")),
        }
    ),
    "InferInput": _object(
        {
            "name": {"type": "string", "minLength": 1},
            "shape": _SHAPE,
            "datatype": {"type": "string", "enum": DATATYPES},
        },
        {"parameters": _PARAMETERS, "data": {"type": "array", "items": {}}},
        additionalProperties=False,
    ),
    "InferRequest": _object(
        {"inputs": _list(ref("InferInput"), minItems=1)},
        {
            "id": {"type": "string", "maxLength": 256, "nullable": True},
            "parameters": {**_PARAMETERS, "nullable": True},
            "outputs": _list(
                _object(
                    {"name": {"type": "string"}}, {"parameters": _PARAMETERS}, additionalProperties=False
                ),
                nullable=True,
            ),
        },
        additionalProperties=False,
    ),
    "InferOutput": _object(
        {
            "name": {"type": "string"},
            "shape": _SHAPE,
            "datatype": {"type": "string", "enum": DATATYPES},
        },
        {"parameters": _PARAMETERS, "data": {"type": "array", "items": {}}},
    ),
    "InferAnswer": _object(
        {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "outputs": _list(ref("InferOutput")),
        },
        {"id": {"type": "string"}, "parameters": _PARAMETERS},
    ),
}

PATH_PARAMETERS: dict[str, Schema] = {
    "name": {"type": "string", "pattern": MODEL_NAME},
    "model": {"type": "string", "pattern": MODEL_NAME},
    "view": {"type": "string", "pattern": r"^[a-z][a-z0-9_]{0,47}$"},
    "version": {"type": "string", "pattern": r"^[a-z0-9][a-z0-9._-]{0,63}$"},
}
PARAMETER_TEXTS = {
    "name": "A model, for its champion, or name@7.",
    "model": "A model.",
    "view": "A feature view, or for events also a source.",
    "version": "A version's number, or an alias.",
}
