"""The two slots: what lies in each, and removing what no slot names any more.

The server reads its slot through this module at every start: what only the agent needs is imported where it is needed.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

from .errors import Refused
from .place import SLOTS, Place
from .strict_json import canonical_json, parse_object

if TYPE_CHECKING:
    from .manifest import Manifest

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Slot:
    """``slot.json``: which bundle lies here, and the layers that it runs from."""

    manifest_digest: str
    model: str
    number: int
    version_digest: str
    epoch: int
    signer: str
    layers: Mapping[str, str]

    @property
    def version(self) -> str:
        """``model@number``."""
        return f"{self.model}@{self.number}"

    @staticmethod
    def of(manifest: Manifest, signer: str) -> Slot:
        return Slot(
            manifest.digest,
            manifest.model,
            manifest.number,
            manifest.version_digest,
            manifest.epoch,
            signer,
            dict(manifest.layers),
        )

    def to_bytes(self) -> bytes:
        return canonical_json(vars(self))


def read_slot(place: Place, name: str) -> Slot | None:
    """What lies in a slot; ``None`` where nothing does.

    Raises:
        Refused: ``slot.json`` is damaged.
    """
    path = place.slot(name) / "slot.json"
    try:
        raw = parse_object(path.read_bytes(), str(path))
        return Slot(**{**raw, "layers": dict(raw["layers"])})
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (TypeError, KeyError, ValueError) as error:
        raise Refused(f"{path} is damaged: {error!r}", rule="slot.damaged") from error


def read_manifest(folder: Path) -> Manifest:
    """The manifest in a slot's folder, which must still be the one that was verified.

    Raises:
        Refused: It is another, or cannot be read.
    """
    from .manifest import parse_manifest

    return parse_manifest(_manifest_bytes(folder))


def read_limits(folder: Path) -> dict[str, Any]:
    """The limits in that manifest, without the parts that verification needs: for the server, which starts often.

    Raises:
        Refused: It cannot be read.
    """
    limits = parse_object(_manifest_bytes(folder), MANIFEST).get("limits")
    if not isinstance(limits, dict):
        raise Refused(f"{folder} holds a manifest without limits", rule="slot.damaged")
    return limits


def _manifest_bytes(folder: Path) -> bytes:
    try:
        return (folder / "bundle" / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise Refused(f"{folder} holds no bundle", rule="slot.damaged") from None


def damage(place: Place, name: str) -> str | None:
    """What is wrong with the files of a slot, against the manifest that was verified; ``None`` when nothing is."""
    import hashlib

    try:
        slot, manifest = read_slot(place, name), read_manifest(place.slot(name))
    except Refused as refused:
        return refused.message
    if slot is None or slot.manifest_digest != manifest.digest:
        return f"slot {name} holds another bundle than it says"
    for path, fact in manifest.files.items():
        if path.startswith("runtime/"):
            continue
        try:
            data = (place.bundle(name) / path).read_bytes()
        except OSError as error:
            return f"{path} cannot be read: {error.strerror}"
        if hashlib.sha256(data).hexdigest() != fact.sha256:
            return f"{path} was altered"
    missing = [layer for layer in ("runtime", "wheels") if not place.layer(slot.layers[layer]).is_dir()]
    return f"its {missing[0]} layer is gone" if missing else None


def remove_strays(place: Place) -> None:
    """Empty staging, and remove layers that no slot names. Call it under the lock of installs."""
    for entry in _entries(place.staging):
        _remove(entry)
    slots = [read_slot(place, name) for name in SLOTS]
    named = {digest for slot in slots if slot for digest in slot.layers.values()}
    for entry in _entries(place.layers):
        if entry.name not in named:
            _remove(entry)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(str(path))
        return
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
