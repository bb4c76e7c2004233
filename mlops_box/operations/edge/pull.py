"""Fetch what a device remembers from the device itself."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

from mlops_box.box import Box
from mlops_box.edge.device.batch import MAX_ENVELOPE_BYTES
from mlops_box.errors import UnavailableError, UsageError
from mlops_box.operations.edge.sync import Receipt, acknowledge, receive

OUTBOX_PATH = "/edge/outbox"
_TIMEOUT_S = 60.0


def pull(box: Box, name: str, url: str) -> tuple[Receipt, ...]:
    """Take over everything a device has; each request acknowledges, under the box's signature, what came before.

    Args:
        url: Of the device's server: ``http://press-7:8080``.

    Raises:
        NotFoundError: There is no device of that name.
        UnavailableError: The device does not answer. What came before stays taken over.
        UsageError: What it answers is not signed by that device.
    """
    device = box.devices.get(name)
    receipts: list[Receipt] = []
    boots: set[str] = set()
    while True:
        envelope = _post(url, acknowledge(box, device.name, boots))
        receipt = receive(box, envelope, way="pull")
        if receipt.device != device.name:
            raise UsageError(f"{url} is the device {receipt.device}, not {device.name}")
        if receipt.records == 0:
            return tuple(receipts)
        receipts.append(receipt)
        if receipt.fresh == 0 and receipt.boot in boots:
            raise UnavailableError(f"the device {name} sends again what was acknowledged")
        boots.add(receipt.boot)


def _post(url: str, body: bytes) -> bytes:
    place = urlsplit(url)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise UsageError(f"{url!r} is no address of a device", hint="http://press-7:8080")
    kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(place.hostname, place.port, timeout=_TIMEOUT_S)
        try:
            path = place.path.rstrip("/") + OUTBOX_PATH
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            data = answer.read(MAX_ENVELOPE_BYTES + 1)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnavailableError(f"the device at {url} does not answer: {error}") from error
    if answer.status != 200:
        said = data[:300].decode("utf-8", "replace")
        raise UnavailableError(f"the device at {url} refused ({answer.status}): {said}")
    return data
