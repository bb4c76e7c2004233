"""The code that a bundle brings along: the device package, as it is here."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable

from mlops_box.edge.device.manifest import LAYERS


def runtime_files() -> dict[str, bytes]:
    """Bundle path to source of every module of the device's runtime."""
    return dict(_sources(resources.files("mlops_box.edge") / "device", LAYERS["runtime"]))


def _sources(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "__pycache__":
            found += _sources(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".py"):
            found.append((prefix + entry.name, entry.read_bytes()))
    return found
