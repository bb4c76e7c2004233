"""Which life of the device this is: monotonic clocks compare only within one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .atomic import locked, write_whole
from .place import Place
from .strict_json import canonical_json, parse_object

KERNEL_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id(place: Place | None = None) -> str:
    """The kernel's boot id (32 hex digits); with a place, followed by ``-`` and the count of starts of its server."""
    kernel = KERNEL_BOOT_ID.read_text().strip().replace("-", "")
    return kernel if place is None else f"{kernel}-{int(device_facts(place).get('boot_counter', 0))}"


def count_start(place: Place) -> str:
    """Count a start of the server, durably, and return its :func:`boot_id`."""
    with locked(place.state_lock):
        facts = device_facts(place)
        facts["boot_counter"] = int(facts.get("boot_counter", 0)) + 1
        write_whole(place.device, canonical_json(facts))
    return boot_id(place)


def device_facts(place: Place) -> dict[str, Any]:
    """``device.json``: the device's name and its count of starts."""
    try:
        return parse_object(place.device.read_bytes(), place.device.name)
    except FileNotFoundError:
        return {}
