"""Writes bundles: a stored zip, the same bytes for the same content, each file under a signed statement.

Format 2; read by :mod:`mlops_box.edge.device`, on devices as in the box. How to change it:

1. What a reader may ignore: add a key to the manifest. Nothing else.
2. What a reader must understand: also name it in the manifest's ``features`` and in ``KNOWN_FEATURES`` of
   ``device/manifest.py``. An agent that does not know the name refuses the bundle and says so.
3. Another archive, or another meaning of an existing key: raise ``FORMAT`` in ``device/manifest.py``, keep the box's
   reader of the old format (as :mod:`mlops_box.edge.format1` is kept), and say in ``docs/edge.md`` what changed.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mlops_box.canonical import canonical_json, sha256_hex
from mlops_box.edge.device.archive import ENVELOPE, SSH_SIGNATURE
from mlops_box.edge.device.manifest import FORMAT, LAYERS, layer_digest
from mlops_box.edge.device.manifest import NAME as MANIFEST_FILE
from mlops_box.edge.keys import KeyChange
from mlops_box.edge.signing import STATEMENT_TYPE, sign
from mlops_box.edge.sshsig import sign_armored
from mlops_box.edge.statement import Provenance, statement
from mlops_box.edge.targets import Target

Kind = Literal["full", "model-only"]
Precision = Literal["float32", "int8"]
MIN_AGENT = 1


@dataclass(frozen=True)
class Limits:
    """Bounds on the device.

    Attributes:
        rss_bytes: Of the server with this model.
        golden_seconds: Of the self-test.
        log_bytes: Of the prediction log on its disk.
    """

    rss_bytes: int
    log_bytes: int
    golden_seconds: float = 60.0


@dataclass(frozen=True)
class Description:
    """What a manifest says beside its files.

    Attributes:
        layers: Layer to its id, for all layers; also those that a model-only bundle does not carry.
        onnx: The graph's opset and IR version, and the runtime it was tested with.
        features: What a reader must understand.
    """

    kind: Kind
    model: str
    number: int
    version_digest: str
    task: str
    snapshot_id: str
    target: Target
    precision: Precision
    epoch: int
    limits: Limits
    keys: KeyChange
    onnx: Mapping[str, str | int]
    layers: Mapping[str, str]
    features: tuple[str, ...] = field(default_factory=tuple)

    def manifest(self, files: Mapping[str, bytes], digests: Mapping[str, str]) -> bytes:
        """The canonical JSON of the manifest of ``files`` (bundle path to content), with the SHA-256 of each."""
        listed = {name: {"size_bytes": len(data), "sha256": digests[name]} for name, data in files.items()}
        raw: dict[str, Any] = {
            "format": FORMAT, "kind": self.kind, "model": self.model, "number": self.number,
            "version_digest": self.version_digest, "task": self.task, "snapshot_id": self.snapshot_id,
            "target": self.target.name,
            "compatible": {
                "arch": self.target.arch, "python": self.target.python, "glibc_min": self.target.glibc_min,
            },
            "features": sorted(self.features), "min_agent": MIN_AGENT, "epoch": self.epoch,
            "precision": self.precision, "onnx": dict(self.onnx), "layers": dict(self.layers),
            "limits": {**vars(self.limits), "archive_bytes": sum(map(len, files.values()))},
            "keys": {"add": self.keys.add, "revoke": list(self.keys.revoke)},
            "files": listed,
        }  # fmt: skip
        return canonical_json(raw).encode()


def layer_of(files: Mapping[str, bytes], layer: str) -> str:
    """The id of a layer, from the files of the bundle that belong to it."""
    folder = LAYERS[layer]
    return layer_digest({name: sha256_hex(data) for name, data in files.items() if name.startswith(folder)})


def pack(
    described: Description, files: Mapping[str, bytes], provenance: Provenance, signers: Sequence[bytes]
) -> bytes:
    """The bundle's bytes; they do not depend on time, platform, umask or the order of ``files``.

    Args:
        files: Bundle path to content, without the three members that are made here.
        signers: Private keys; the first also signs the manifest for ``ssh-keygen -Y verify``.
    """
    digests = {name: sha256_hex(data) for name, data in files.items()}
    manifest = described.manifest(files, digests)
    head = {MANIFEST_FILE: manifest, SSH_SIGNATURE: sign_armored(manifest, signers[0])}
    digests |= {name: sha256_hex(data) for name, data in head.items()}
    envelope = sign(statement(digests, provenance), signers, kind=STATEMENT_TYPE)
    return stored_zip([(ENVELOPE, envelope), *head.items(), *sorted(files.items())])


def stored_zip(members: Iterable[tuple[str, bytes]]) -> bytes:
    """An uncompressed zip with fixed dates and attributes (deflate's bytes depend on the zlib at hand)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members:
            member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system = 3
            member.external_attr = 0o100644 << 16
            archive.writestr(member, data)
    return out.getvalue()
