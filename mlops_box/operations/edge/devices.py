"""Which devices may bring what they remember."""

from __future__ import annotations

from mlops_box.box import Box
from mlops_box.edge.devices import Device
from mlops_box.errors import UsageError


def add_device(box: Box, name: str, key: str) -> Device:
    """Accept a device by its public key, as ``mlops-edge init`` prints it; adding it again changes nothing.

    Raises:
        UsageError: A name or key that cannot be, or that belongs to another device.
    """
    try:
        public = bytes.fromhex(key)
    except ValueError:
        public = b""
    if len(public) != 32:
        raise UsageError(
            f"{key[:80]!r} is no public key", hint="64 hex digits, as `mlops-edge init` prints them"
        )
    return box.devices.add(name, public)


def remove_device(box: Box, name: str) -> Device:
    """Accept nothing more from a device; what came stays.

    Raises:
        NotFoundError: There is none of that name.
    """
    return box.devices.revoke(name)
