"""Devices bring what they remember. Who they are is told by the signature on what they send, not by a token."""

from __future__ import annotations

import asyncio

from mlops_box.box import Box
from mlops_box.edge.incoming import UnknownDeviceError
from mlops_box.operations.edge.sync import acknowledge, receive
from mlops_box.serving.problems import HttpProblem
from mlops_box_services.exchange import JSON_TYPE, Answer, Exchange
from mlops_box_services.routes import Route


def routes() -> list[Route]:
    return [Route("POST", "/edge/sync", sync, "signature")]


async def sync(exchange: Exchange) -> Answer:
    """A signed batch in, a signed acknowledgement back; the model's requests go on meanwhile."""
    body = await exchange.body()
    try:
        answer = await asyncio.to_thread(_take, exchange.runtime.box, body)
    except UnknownDeviceError as error:
        raise HttpProblem(403, error.code, error.message, hint=error.hint) from error
    return Answer(200, answer, JSON_TYPE)


def _take(box: Box, envelope: bytes) -> bytes:
    receipt = receive(box, envelope, way="push")
    return acknowledge(box, receipt.device, [receipt.boot])
