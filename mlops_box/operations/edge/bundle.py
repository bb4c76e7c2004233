"""Carry a model version out of the box, and look at what was carried."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_box.box import Box
from mlops_box.edge.bundle import Manifest, manifest_for, open_bundle, pack
from mlops_box.edge.signing import key_id, public_key, signing_key
from mlops_box.errors import GateError, IntegrityError, UsageError
from mlops_box.files import write_whole
from mlops_box.models.values import (
    CARD_FILE,
    ENVIRONMENT_FILE,
    EVALUATION_FILE,
    GOLDEN_FILE,
    MODEL_FILE,
    PACKED_FILE,
    PARITY_FILE,
    REFERENCE_FILE,
)

CARRIED = (
    MODEL_FILE,
    PACKED_FILE,
    GOLDEN_FILE,
    REFERENCE_FILE,
    PARITY_FILE,
    EVALUATION_FILE,
    ENVIRONMENT_FILE,
    CARD_FILE,
)


@dataclass(frozen=True)
class BundleReport:
    """A bundle: which version it carries, how large it is, and whose key signed it."""

    path: Path
    manifest: Manifest
    size_bytes: int
    key: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.path), "model": f"{self.manifest.model}@{self.manifest.number}",
            "version_digest": self.manifest.version_digest, "size_bytes": self.size_bytes, "key": self.key,
            "files": {name: size for name, (size, _) in self.manifest.files.items()},
        }  # fmt: skip


def export_bundle(box: Box, ref: str, *, target: Path) -> BundleReport:
    """Write a signed bundle of an accepted version; the same version always gives the same bytes.

    Raises:
        GateError: The version was rejected by its gates.
        StorageError: The target cannot be written.
    """
    version = box.models.get(ref)
    if version.state != "accepted":
        raise GateError(
            f"{version.ref} was rejected by its gates and does not leave the box",
            hint=f"mlops-box why {version.ref}",
        )
    files = {f"model/{name}": box.models.file(version, name) for name in CARRIED if name in version.files}
    files["model/signature.json"] = version.signature.to_json().encode()
    manifest = manifest_for(
        files, model=version.model, number=version.number, version_digest=version.digest,
        task=version.task, snapshot_id=version.snapshot_id,
    )  # fmt: skip
    private = signing_key(box.home.keys)
    data = pack(manifest, files, private)
    write_whole(target, data)
    box.ledger.record("edge.export", f"version:{version.ref}", {"files": len(files), "size_bytes": len(data)})
    return BundleReport(target, manifest, len(data), key_id(public_key(private)))


def verify_bundle(path: Path, *, trusted: bytes) -> BundleReport:
    """Check signature and every byte, then let the model answer its golden rows.

    Raises:
        IntegrityError: Altered, signed by another key, or the model does not answer as it did in the box.
        SourceError: No such file, or no bundle.
    """
    from mlops_box.models.golden import Golden, check_golden
    from mlops_box.models.runtime import OnnxModel
    from mlops_box.models.values import Signature

    manifest, files = open_bundle(path, trusted)
    signature = Signature.from_json(files["model/signature.json"].decode())
    model = OnnxModel(files[f"model/{PACKED_FILE}"], signature)
    problems = check_golden(model, Golden.from_json(files[f"model/{GOLDEN_FILE}"].decode()))
    if problems:
        raise IntegrityError(f"{path.name}: the model does not answer its golden rows: {problems[0]}")
    return BundleReport(path, manifest, path.stat().st_size, key_id(trusted))


def box_public_key(box: Box) -> bytes:
    """The key to give to devices, 32 bytes."""
    return public_key(signing_key(box.home.keys))


def read_key(text: str) -> bytes:
    """A public key from its 64 hex digits."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise UsageError(
            f"{text!r} is no public key", hint="64 hex digits, as `mlops-box edge key` prints them"
        )
    return key
