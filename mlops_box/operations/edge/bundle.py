"""Look at a bundle, and verify one; nothing of it is extracted to stay or run as code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlops_box.box import Box
from mlops_box.edge.device.archive import look, open_verified
from mlops_box.edge.device.manifest import Manifest
from mlops_box.edge.format1 import is_format1, look_at_format1, open_format1
from mlops_box.edge.keys import KeyRing
from mlops_box.edge.refusals import told_as_box_errors
from mlops_box.edge.signing import key_id, public_key
from mlops_box.errors import IntegrityError, UsageError
from mlops_box.models.values import GOLDEN_FILE, PACKED_FILE, SIGNATURE_FILE

MODEL_FOLDER = "model/"


@dataclass(frozen=True)
class BundleFacts:
    """What a bundle says of itself.

    Attributes:
        verified_by: The id of the trusted key under which every byte was verified; ``None``: nothing was verified.
        signers: The ids of the keys that it says it is signed by.
        files: Bundle path to size in bytes.
        target: The kind of device; ``None`` for format 1, which devices do not install.
    """

    path: Path
    format: int
    model: str
    number: int
    version_digest: str
    task: str
    snapshot_id: str
    size_bytes: int
    signers: tuple[str, ...]
    verified_by: str | None
    files: dict[str, int]
    kind: str = "model-only"
    target: str | None = None
    precision: str = "float32"
    epoch: int = 0
    features: tuple[str, ...] = ()
    layers: Mapping[str, str] | None = None
    onnx: Mapping[str, Any] | None = None

    @property
    def version(self) -> str:
        return f"{self.model}@{self.number}"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "path": str(self.path), "version": self.version}


def inspect_bundle(path: Path, *, trusted: Mapping[str, bytes] | None = None) -> BundleFacts:
    """What a bundle says of itself; it is verified where ``trusted`` knows its key, and told unverified elsewhere.

    Args:
        trusted: Key id to 32 public bytes; ``None`` trusts nobody.

    Raises:
        SourceError: There is no such file.
        IntegrityError: It is no bundle; or a trusted key signed it and it was altered.
    """
    if is_format1(path):
        return _read_format1(path, trusted or {})[0]
    with told_as_box_errors():
        seen = look(path)
        if not set(seen.signers) & set(trusted or {}):
            return _facts(path, seen.manifest, seen.signers, None)
        bundle = open_verified(path, trusted or {})
    return _facts(path, bundle.manifest, seen.signers, bundle.signer)


def verify_bundle(path: Path, *, trusted: Mapping[str, bytes]) -> BundleFacts:
    """Check signature and every byte, then let the model answer its golden rows.

    Raises:
        IntegrityError: Altered, signed by another key, or the model does not answer as it did in the box.
        SourceError: No such file, or no bundle.
    """
    if is_format1(path):
        facts, files = _read_format1(path, trusted)
        if facts.verified_by is None:
            raise IntegrityError(
                f"{path.name} is signed by {', '.join(facts.signers)}, which is not trusted here"
            )
        _answer_golden(path, files)
        return facts
    with told_as_box_errors():
        bundle = open_verified(path, trusted)
        signers = look(path).signers
        needed = (PACKED_FILE, GOLDEN_FILE, SIGNATURE_FILE)
        files = {MODEL_FOLDER + name: bundle.read(MODEL_FOLDER + name) for name in needed}
    _answer_golden(path, files)
    return _facts(path, bundle.manifest, signers, bundle.signer)


def _answer_golden(path: Path, files: Mapping[str, bytes]) -> None:
    from mlops_box.models.golden import Golden, check_golden
    from mlops_box.models.runtime import OnnxModel
    from mlops_box.models.signature import Signature

    signature = Signature.from_json(files[MODEL_FOLDER + SIGNATURE_FILE].decode())
    model = OnnxModel(files[MODEL_FOLDER + PACKED_FILE], signature)
    problems = check_golden(model, Golden.from_json(files[MODEL_FOLDER + GOLDEN_FILE]))
    if problems:
        raise IntegrityError(f"{path.name}: the model does not answer its golden rows: {problems[0]}")


def box_keys(box: Box) -> dict[str, bytes]:
    """Key id to public key of the box's own keys that are not revoked."""
    return _by_id([public_key(private) for private in KeyRing(box.home.keys).signers()])


def given_keys(texts: Sequence[str]) -> dict[str, bytes]:
    """Key id to public key of those given as 64 hex digits.

    Raises:
        UsageError: One is no public key.
    """
    return _by_id([read_key(text) for text in texts])


def _by_id(keys: Sequence[bytes]) -> dict[str, bytes]:
    return {key_id(key): key for key in keys}


def read_key(text: str) -> bytes:
    """A public key from its 64 hex digits."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise UsageError(
            f"{text!r} is no public key", hint="64 hex digits, as `mlops-box edge keys show` prints them"
        )
    return key


def _facts(path: Path, manifest: Manifest, signers: tuple[str, ...], verified_by: str | None) -> BundleFacts:
    return BundleFacts(
        path=path,
        format=2,
        model=manifest.model,
        number=manifest.number,
        version_digest=manifest.version_digest,
        task=manifest.task,
        snapshot_id=manifest.snapshot_id,
        size_bytes=path.stat().st_size,
        signers=signers,
        verified_by=verified_by,
        files={name: fact.size_bytes for name, fact in sorted(manifest.files.items())},
        kind=manifest.kind,
        target=manifest.target,
        precision=manifest.precision,
        epoch=manifest.epoch,
        features=manifest.features,
        layers=manifest.layers,
        onnx=manifest.onnx,
    )


def _read_format1(path: Path, trusted: Mapping[str, bytes]) -> tuple[BundleFacts, Mapping[str, bytes]]:
    """What a bundle of format 1 says of itself, and its files where a trusted key signed it."""
    manifest, signers = look_at_format1(path)
    signer = next((name for name in signers if name in trusted), None)
    files: Mapping[str, bytes] = {}
    if signer is not None:
        manifest, files = open_format1(path, trusted[signer])
    facts = BundleFacts(
        path=path,
        format=1,
        model=manifest.model,
        number=manifest.number,
        version_digest=manifest.version_digest,
        task=manifest.task,
        snapshot_id=manifest.snapshot_id,
        size_bytes=path.stat().st_size,
        signers=signers,
        verified_by=signer,
        files={name: size for name, (size, _) in manifest.files.items()},
    )
    return facts, files
