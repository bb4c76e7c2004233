"""Rows in, predictions out: JSON, or raw float32."""

from __future__ import annotations

from typing import Callable

from mlops_box.serving.replies import json_reply, octets_reply

from .device import Device
from .exchange import JSON_TYPE, OCTETS, Answer, Request
from .model import Served
from .recorder import Rows


def predict(device: Device, request: Request, name: str) -> Answer:
    """``{"rows": [...]}``, or rows as raw little-endian float32."""
    body = request.read_body()
    is_raw = request.header(b"content-type") == OCTETS
    rows_for: Callable[[Served], Rows] = (
        (lambda served: served.door.parse_matrix(body))
        if is_raw
        else (lambda served: served.door.parse(body))
    )
    served = device.named(name)
    answers, ids = device.predict(served, rows_for, request.started_s)
    version = (b"x-model-version", str(served.number).encode())
    if request.header(b"accept") == OCTETS:
        headers = (version, (b"x-prediction-id", ids[0].encode()))
        return Answer(200, octets_reply(answers), OCTETS, headers)
    return Answer(200, json_reply(served.ref, served.signature, answers, ids), JSON_TYPE, (version,))
