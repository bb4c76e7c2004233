"""A device's batch as the box takes it: from whom, by what clock, how the device is. Nothing in it is believed unchecked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlops_box.canonical import sha256_hex
from mlops_box.edge.device import dsse
from mlops_box.edge.device.batch import Batch, read_batch
from mlops_box.edge.device.errors import Refused
from mlops_box.edge.device.strict_json import whole
from mlops_box.edge.device_clock import Reading
from mlops_box.edge.devices import Device, DeviceStore, Report
from mlops_box.errors import UsageError


class UnknownDeviceError(UsageError):
    """A batch is signed by a key that no device of this box holds, or by one that was revoked."""

    code = "device"


@dataclass(frozen=True)
class Incoming:
    """A batch whose signature is a device's.

    Attributes:
        digest: SHA-256 of the envelope.
    """

    device: Device
    batch: Batch
    reading: Reading
    report: Report
    digest: str


def read_incoming(envelope: bytes, devices: DeviceStore) -> Incoming:
    """Whose batch it is, and what is in it.

    Raises:
        UnknownDeviceError: No device of this box signed it.
        UsageError: It is no batch, was altered, or names another device than signed it.
    """
    try:
        _, _, signatures = dsse.read(envelope)
        device = _signer(devices, [name for name, _ in signatures])
        batch = read_batch(envelope, {device.key_id: bytes.fromhex(device.public_key)})
    except Refused as refused:
        raise UsageError(refused.message, hint=refused.hint or None) from refused
    if batch.device != device.name:
        raise UsageError(
            f"the device {device.name} calls itself {batch.device[:64]!r}",
            hint=f"mlops-box edge devices remove {device.name}, then add it by its own name",
        )
    try:
        reading, report = _reading(batch.header["clock"]), _report(batch.header)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"the batch of {device.name} has a malformed header: {error}") from error
    return Incoming(device, batch, reading, report, sha256_hex(envelope))


def _signer(devices: DeviceStore, keys: list[str]) -> Device:
    found = [device for device in map(devices.by_key, keys) if device is not None]
    if not found:
        raise UnknownDeviceError(
            f"no device of this box has the key {', '.join(keys)[:80] or '(none)'}",
            hint="mlops-box edge devices add NAME KEY (as mlops-edge init prints it)",
        )
    if found[0].is_revoked:
        raise UnknownDeviceError(f"the device {found[0].name} was removed from this box")
    return found[0]


def _reading(raw: dict[str, Any]) -> Reading:
    boot = raw["boot"]
    if not isinstance(boot, str) or not 0 < len(boot) <= 64:
        raise ValueError("no boot id")
    return Reading(boot, whole(raw["mono_us"]), whole(raw["wall_us"]))


def _report(header: dict[str, Any]) -> Report:
    health = header["health"]
    if not isinstance(health, dict):
        raise ValueError("its health is no object")
    mono_us = whole(header["clock"]["mono_us"])
    return Report(
        whole(header["starts"]), mono_us, whole(header["backlog"]), whole(header["dropped"]), health
    )
