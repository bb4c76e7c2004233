"""Fetch what a device remembers from the device itself."""

from __future__ import annotations

from mlops_box.box import Box
from mlops_box.edge.device.errors import Refused
from mlops_box.edge.device.post import post
from mlops_box.errors import UnavailableError, UsageError
from mlops_box.operations.edge.sync import Receipt, acknowledge, receive

OUTBOX_PATH = "/edge/outbox"


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
        envelope = _ask(url, acknowledge(box, device.name, boots), name)
        receipt = receive(box, envelope, way="pull")
        if receipt.device != device.name:
            raise UsageError(f"{url} is the device {receipt.device}, not {device.name}")
        if receipt.records == 0:
            return tuple(receipts)
        receipts.append(receipt)
        if receipt.fresh == 0 and receipt.boot in boots:
            raise UnavailableError(f"the device {name} sends again what was acknowledged")
        boots.add(receipt.boot)


def _ask(url: str, body: bytes, name: str) -> bytes:
    try:
        return post(url, OUTBOX_PATH, body, f"the device {name}")
    except Refused as refused:
        raise UnavailableError(refused.message, hint=refused.hint or None) from refused
