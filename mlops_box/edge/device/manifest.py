"""``manifest.json`` of a bundle: what it holds, for which device, and what it needs.

Format 2. To change what a reader *must* understand, name it in ``features`` (a reader refuses a name that it does not
know); what a reader *may* ignore can be added without a word. Only when the archive or the meaning of an existing key
changes is :data:`FORMAT` raised: then keep the reader of the old one and say in ``docs/edge.md`` what changed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .dsse import key_id
from .errors import Refused
from .strict_json import canonical_json, parse_object, whole

FORMAT = 2
NAME = "manifest.json"
KNOWN_FEATURES = frozenset({"int8", "slim"})
"""What this reader understands beyond the plain format."""

KINDS = ("full", "model-only")
LAYERS = {"runtime": "runtime/mlops_edge/", "wheels": "runtime/wheels/", "model": "model/"}
"""Each layer, and the folder of the bundle whose files it is made of."""

MEMBER = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*$")
FOLDERS = ("install/", "model/", "runtime/")
MAX_NAME = 200
MAX_FILES = 1000
_DIGEST = re.compile(r"^[0-9a-f]{64}$")
_MODEL = re.compile(r"^[a-z0-9][a-z0-9._-]{0,63}$")


@dataclass(frozen=True)
class FileFact:
    """What a file must be."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Compatible:
    """The devices that a bundle runs on: ``python`` is ``major.minor``, ``glibc_min`` the oldest that will do."""

    arch: str
    python: str
    glibc_min: str


@dataclass(frozen=True)
class Limits:
    """Bounds of the running model, the self-test, the log and the unpacked bundle."""

    rss_bytes: int
    golden_seconds: float
    log_bytes: int
    archive_bytes: int


@dataclass(frozen=True)
class KeyChanges:
    """Keys that the device shall trust (id to 32 public bytes) or no longer trust, once the version is confirmed."""

    add: Mapping[str, bytes]
    revoke: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """A manifest that was read whole. ``digest`` is the SHA-256 of its bytes."""

    digest: str
    kind: str
    model: str
    number: int
    version_digest: str
    task: str
    snapshot_id: str
    target: str
    compatible: Compatible
    features: tuple[str, ...]
    min_agent: int
    epoch: int
    precision: str
    onnx: Mapping[str, Any]
    layers: Mapping[str, str]
    limits: Limits
    keys: KeyChanges
    files: Mapping[str, FileFact]

    @property
    def version(self) -> str:
        """``model@number``."""
        return f"{self.model}@{self.number}"

    def layer_files(self, layer: str) -> dict[str, FileFact]:
        """The files of one layer, by their paths in the bundle."""
        return {name: fact for name, fact in self.files.items() if name.startswith(LAYERS[layer])}


def layer_digest(files: Mapping[str, str]) -> str:
    """A layer's id: of its files, bundle path to SHA-256."""
    return hashlib.sha256(canonical_json(dict(files))).hexdigest()


def parse_manifest(data: bytes) -> Manifest:
    """Read and check a manifest.

    Raises:
        Refused: Of another format, malformed, with an unknown feature, or at odds with itself.
    """
    raw = parse_object(data, NAME)
    number = raw.get("format")
    if number != FORMAT or isinstance(number, bool):
        raise Refused(
            f"bundle format {number!r}, this agent reads format {FORMAT}",
            hint="update the agent"
            if isinstance(number, int) and number > FORMAT
            else "export the bundle again",
            rule="manifest.format",
        )
    try:
        manifest = _build(raw, hashlib.sha256(data).hexdigest())
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Refused(f"{NAME} is malformed: {error!r}", rule="manifest.malformed") from error
    _check_features(manifest)
    _check_layers(manifest)
    return manifest


def _build(raw: dict[str, Any], digest: str) -> Manifest:
    compatible, limits = raw["compatible"], raw["limits"]
    return Manifest(
        digest=digest,
        kind=_one_of(raw["kind"], KINDS),
        model=_match(raw["model"], _MODEL),
        number=whole(raw["number"]),
        version_digest=_match(raw["version_digest"], _DIGEST),
        task=_text(raw["task"]),
        snapshot_id=_text(raw["snapshot_id"]),
        target=_text(raw["target"]),
        compatible=Compatible(*(_text(compatible[key]) for key in ("arch", "python", "glibc_min"))),
        features=tuple(_text(name) for name in raw["features"]),
        min_agent=whole(raw["min_agent"]),
        epoch=whole(raw["epoch"]),
        precision=_one_of(raw["precision"], ("float32", "int8")),
        onnx=dict(raw["onnx"]),
        layers={
            _one_of(name, tuple(LAYERS)): _match(value, _DIGEST) for name, value in raw["layers"].items()
        },
        limits=Limits(
            rss_bytes=whole(limits["rss_bytes"]),
            golden_seconds=_seconds(limits["golden_seconds"]),
            log_bytes=whole(limits["log_bytes"]),
            archive_bytes=whole(limits["archive_bytes"]),
        ),
        keys=KeyChanges(_keys(raw["keys"]["add"]), tuple(_text(name) for name in raw["keys"]["revoke"])),
        files={_member(name): _file(fact) for name, fact in raw["files"].items()},
    )


def _check_features(manifest: Manifest) -> None:
    unknown = sorted(set(manifest.features) - KNOWN_FEATURES)
    if unknown:
        raise Refused(
            f"the bundle needs {', '.join(unknown)}, which this agent does not know",
            hint="update the agent",
            rule="manifest.feature",
        )


def _check_layers(manifest: Manifest) -> None:
    if set(manifest.layers) != set(LAYERS):
        raise Refused("the manifest names other layers than this agent knows", rule="manifest.layer")
    if len(manifest.files) > MAX_FILES:
        raise Refused(f"the manifest lists {len(manifest.files)} files", rule="manifest.too-many")
    if sum(fact.size_bytes for fact in manifest.files.values()) > manifest.limits.archive_bytes:
        raise Refused("the files are larger than the manifest's own limit", rule="manifest.too-large")
    carried = tuple(LAYERS) if manifest.kind == "full" else ("model",)
    for layer in LAYERS:
        files = {name: fact.sha256 for name, fact in manifest.layer_files(layer).items()}
        if layer not in carried:
            if files:
                raise Refused(f"a model-only bundle carries a {layer} layer", rule="manifest.layer")
        elif layer_digest(files) != manifest.layers[layer]:
            raise Refused(f"the {layer} layer is not made of the listed files", rule="manifest.layer")


def _member(name: str) -> str:
    if not (MEMBER.fullmatch(name) and name.startswith(FOLDERS) and len(name) <= MAX_NAME):
        raise ValueError(f"{name[:MAX_NAME]!r} cannot be a path in a bundle")
    return name


def _file(fact: Mapping[str, Any]) -> FileFact:
    return FileFact(whole(fact["size_bytes"]), _match(fact["sha256"], _DIGEST))


def _keys(added: Mapping[str, Any]) -> dict[str, bytes]:
    keys = {name: bytes.fromhex(_match(value, _DIGEST)) for name, value in added.items()}
    for name, public in keys.items():
        if key_id(public) != name:
            raise ValueError(f"key {name!r} has another id")
    return keys


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 3600:
        raise ValueError(f"{value!r} is no duration")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise ValueError(f"{str(value)[:100]!r} is no short text")
    return value


def _match(value: Any, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(_text(value)):
        raise ValueError(f"{value!r} does not look like {pattern.pattern}")
    return str(value)


def _one_of(value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{value!r} is none of {', '.join(allowed)}")
    return str(value)
