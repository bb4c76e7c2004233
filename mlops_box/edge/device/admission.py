"""Whether this device may take a bundle whose signature is good: the right machine, not too old, not marked bad."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass

from . import AGENT_VERSION
from .errors import Refused
from .keys import Keys
from .manifest import Manifest
from .place import Place
from .state import State


@dataclass(frozen=True)
class Device:
    """What a bundle must fit: ``uname -m``, ``major.minor`` of Python, version of glibc (empty: another libc)."""

    arch: str
    python: str
    glibc: str


def this_device() -> Device:
    """The machine that this runs on."""
    try:
        libc = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    except (ValueError, OSError):
        libc = []
    glibc = libc[1] if len(libc) == 2 and libc[0] == "glibc" else ""
    return Device(platform.machine(), f"{sys.version_info[0]}.{sys.version_info[1]}", glibc)


@dataclass(frozen=True)
class Overrides:
    """Reasons, given by a person and kept in the history, to take what would be refused."""

    again: str = ""
    old_epoch: str = ""


def admit(manifest: Manifest, device: Device, state: State, overrides: Overrides) -> None:
    """Nothing, if the device may take it.

    Raises:
        Refused: It may not; the rule says why.
    """
    _check_machine(manifest, device)
    if manifest.min_agent > AGENT_VERSION:
        raise Refused(
            f"the bundle needs agent {manifest.min_agent}, this is agent {AGENT_VERSION}",
            hint="update the agent: run init from a newer bundle",
            rule="device.agent",
        )
    check_epoch(manifest.version, manifest.epoch, state, overrides.old_epoch)
    if manifest.version_digest in state.bad and not overrides.again:
        raise Refused(
            f"{manifest.version} was tried on this device and marked bad",
            hint="another version, or --again REASON",
            rule="device.bad",
        )


def check_epoch(version: str, epoch: int, state: State, reason: str) -> None:
    """Nothing, if a version of this epoch may serve here.

    Raises:
        Refused: The device has confirmed one of a later epoch, and no reason is given.
    """
    if epoch < state.epoch and not reason:
        raise Refused(
            f"{version} is of epoch {epoch}, this device is at {state.epoch}: it must not come back",
            hint="a newer version, or --allow-old-epoch REASON",
            rule="device.epoch",
        )


def check_layers(manifest: Manifest, place: Place) -> None:
    """Nothing, if the layers that a model-only bundle builds on are here.

    Raises:
        Refused: One is missing.
    """
    if manifest.kind == "full":
        return
    for name in ("runtime", "wheels"):
        if not place.layer(manifest.layers[name]).is_dir():
            raise Refused(
                f"the bundle holds only the model, and its {name} layer {manifest.layers[name][:16]} is not here",
                hint="install a full bundle once",
                rule="device.layer",
            )


def check_keys(manifest: Manifest, keys: Keys) -> None:
    """Nothing, if the device could trust and revoke what the manifest says.

    Raises:
        Refused: See :meth:`Keys.changed`.
    """
    keys.changed(manifest.keys)


def _check_machine(manifest: Manifest, device: Device) -> None:
    wanted = manifest.compatible
    for what, needed, found in (
        ("processor", wanted.arch, device.arch),
        ("Python", wanted.python, device.python),
    ):
        if needed != found:
            raise Refused(
                f"the bundle is for {what} {needed}, this device has {found}",
                hint="export it for the right target: mlops-box edge targets",
                rule=f"device.{what.lower()}",
            )
    if not device.glibc or _numbers(device.glibc) < _numbers(wanted.glibc_min):
        raise Refused(
            f"the bundle needs glibc {wanted.glibc_min}, this device has {device.glibc or 'another C library'}",
            rule="device.glibc",
        )


def _numbers(version: str) -> list[int]:
    try:
        return [int(part) for part in version.split(".")]
    except ValueError:
        raise Refused(f"{version!r} is no version of glibc", rule="manifest.malformed") from None
