"""Ask a version one row by hand: a row that it accepts to begin with, and the answer with all that came with it."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from mlops_box.box import Box
from mlops_box.errors import BoxError, UsageError
from mlops_box.home import Home
from mlops_box.ids import new_id
from mlops_box.models.signature import Feature
from mlops_box.models.values import GOLDEN_FILE, ModelVersion
from mlops_box.serving.address import ServerAddress
from mlops_box.serving.local_token import local_token


@dataclass(frozen=True)
class Tried:
    """What came back.

    Attributes:
        prediction: A class as text, or a number; ``None``: it is none.
        probabilities: By class; empty for regression.
        by: The server's address; ``None``: no server answers, so this process did.
        request_id: By which the server's access log and traces know it; ``None`` where no server was asked.
        took_ms: From sending to the whole answer, as the caller saw it.
    """

    model: str
    prediction_id: str
    prediction: str | float | None
    probabilities: tuple[tuple[str, float | None], ...]
    by: str | None
    request_id: str | None
    took_ms: float


def example_row(box: Box, version: ModelVersion) -> dict[str, Any]:
    """A row that a version answers: one of its golden rows, the first that is whole and passes the contract, else values
    of the types it reads.

    Raises:
        NotFoundError: The version's files are gone.
        IntegrityError: They are damaged.
    """
    from mlops_box.models.golden import Golden
    from mlops_box.serving.door import Door
    from mlops_box.serving.door_rules import door_rules

    project = box.projects.for_model(version.model)
    door = Door(version.signature, door_rules(project.declaration) if project is not None else None)
    golden = (
        Golden.from_json(box.models.file(version, GOLDEN_FILE)).rows if GOLDEN_FILE in version.files else ()
    )
    good = [row for row in golden if _passes(door.check, row)]
    whole = [row for row in good if None not in row.values()]
    if whole or good:
        return dict((whole or good)[0])
    return {feature.name: _example_value(feature) for feature in version.signature.features}


def read_row(text: str, *, where: str = "the row") -> dict[str, Any]:
    """A row that was typed as a JSON object.

    Raises:
        UsageError: It is none.
    """
    try:
        row = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{where} is no JSON: {error}", hint="""write for example '{"hr": 8, "temp": 0.4}'"""
        ) from None
    if not isinstance(row, dict):
        raise UsageError(f"{where} is no JSON object")
    return row


def try_request(box: Box, ref: str, row: dict[str, Any]) -> Tried:
    """Ask as ``mlops-box predict`` does: the running server where there is one, this process otherwise. It is logged.

    Raises:
        BoxError: What the server or the model says is wrong; a contract violation names row, column and rule.
    """
    from mlops_box.models.encode import category_text
    from mlops_box.operations.predict import predict
    from mlops_box.serving.client import running_server

    server, address = running_server(box.home.run), ServerAddress.read(box.home.run)
    request_id = new_id(box.clock) if server is not None else None
    started_s = box.clock.monotonic_s()
    if server is not None:
        answer = server.predict(ref, [row], request_id=request_id)
    else:
        answer = predict(box, ref, [row]).to_dict()
    took_ms = (box.clock.monotonic_s() - started_s) * 1000
    prediction = answer["predictions"][0]
    if "classes" in answer and prediction is not None:
        prediction = category_text(prediction)
    classes, shares = answer.get("classes") or (), (answer.get("probabilities") or [()])[0]
    return Tried(
        str(answer["model"]), str(answer["ids"][0]), prediction,
        tuple((category_text(name), share) for name, share in zip(classes, shares, strict=True)),
        address.url if server is not None and address is not None else None, request_id, took_ms,
    )  # fmt: skip


def curl_line(home: Home, ref: str, row: str) -> str | None:
    """The same by ``curl``; ``None`` where no server has an address. The token of a server that asks for one is named, not
    printed."""
    address = ServerAddress.read(home.run)
    if address is None:
        return None
    token = ' -H "Authorization: Bearer $TOKEN"' if local_token(home.run) is not None else ""
    url = f"{address.url}/models/{quote(ref, safe='@')}/predict"
    body = shlex.quote(f'{{"rows": [{row}]}}')
    return f"curl -s {url} -H 'Content-Type: application/json'{token} -d {body}"


def _passes(check: Any, row: dict[str, Any]) -> bool:
    try:
        check([row])
    except BoxError:
        return False
    return True


def _example_value(feature: Feature) -> Any:
    if feature.type == "boolean":
        return True
    if feature.kind == "categorical" and feature.values:
        first = feature.values[0]
        return int(first) if feature.type == "bigint" and first.lstrip("-").isdigit() else first
    return 1


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"JSON has no {name}, send null")
