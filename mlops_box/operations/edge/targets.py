"""Which devices a bundle can be made for, and what of it is here."""

from __future__ import annotations

import platform
from typing import Any

from mlops_box.box import Box
from mlops_box.edge.targets import TARGETS
from mlops_box.edge.wheels import WheelCache


def list_targets(box: Box) -> list[dict[str, Any]]:
    """Every target: what it runs on, its pinned wheels, whether they are cached, whether this machine can simulate it."""
    cache = WheelCache(box.home.wheels)
    return [
        {
            "target": target.name, "arch": target.arch, "python": target.python, "glibc_min": target.glibc_min,
            "wheels": {wheel.name: wheel.version for wheel in target.wheels},
            "size_bytes": sum(wheel.size_bytes for wheel in target.wheels),
            "cached": all(cache.holds(wheel) for wheel in target.wheels),
            "same_arch": target.arch == platform.machine(),
        }
        for target in TARGETS
    ]  # fmt: skip
