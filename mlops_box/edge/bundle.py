"""The bundle file: a stored zip, the same bytes for the same version, read member by member under a signed manifest.

Format 1: ``manifest.dsse.json`` (see :mod:`mlops_box.edge.signing`) and the files that its manifest lists, nothing
else. To change what a reader must understand, raise :data:`FORMAT`, keep the reader of the old one, and say in
``docs/edge.md`` what changed.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_box.canonical import canonical_json, sha256_hex
from mlops_box.edge.signing import sign, verify
from mlops_box.errors import IntegrityError, SourceError

FORMAT = 1
ENVELOPE = "manifest.dsse.json"
MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_FILES = 1000
_UTF8_NAME = 0x800  # the only general-purpose flag a plain member may carry
_MEMBER = re.compile(r"^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*$")


@dataclass(frozen=True)
class Manifest:
    """What a bundle holds: of which model version, and every file with its size and SHA-256."""

    model: str
    number: int
    version_digest: str
    task: str
    snapshot_id: str
    files: dict[str, tuple[int, str]]

    def to_bytes(self) -> bytes:
        return canonical_json(
            {
                "format": FORMAT, "model": self.model, "number": self.number, "version_digest": self.version_digest,
                "task": self.task, "snapshot_id": self.snapshot_id,
                "files": {name: {"size_bytes": size, "sha256": digest} for name, (size, digest) in self.files.items()},
            }
        ).encode()  # fmt: skip

    @staticmethod
    def from_bytes(data: bytes) -> Manifest:
        try:
            raw: dict[str, Any] = json.loads(data)
            if raw["format"] != FORMAT:
                raise IntegrityError(
                    f"bundle format {raw['format']} is newer than this program knows ({FORMAT})",
                    hint="upgrade mlops-box",
                )
            files = {
                str(name): (int(item["size_bytes"]), str(item["sha256"]))
                for name, item in raw["files"].items()
            }
            return Manifest(
                raw["model"],
                int(raw["number"]),
                raw["version_digest"],
                raw["task"],
                raw["snapshot_id"],
                files,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError("the bundle's manifest is malformed") from error


def manifest_for(
    files: dict[str, bytes], *, model: str, number: int, version_digest: str, task: str, snapshot_id: str
) -> Manifest:
    """Describe ``files`` (bundle path to content)."""
    for name in files:
        if not _MEMBER.match(name):
            raise ValueError(f"{name!r} cannot be a path in a bundle")
    listed = {name: (len(data), sha256_hex(data)) for name, data in sorted(files.items())}
    return Manifest(model, number, version_digest, task, snapshot_id, listed)


def pack(manifest: Manifest, files: dict[str, bytes], private: bytes) -> bytes:
    """The bundle's bytes: independent of time, platform and umask (stored members, fixed dates and attributes)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in [(ENVELOPE, sign(manifest.to_bytes(), private)), *sorted(files.items())]:
            member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system = 3
            member.external_attr = 0o100644 << 16
            archive.writestr(member, data)
    return out.getvalue()


def open_bundle(path: Path, trusted: bytes) -> tuple[Manifest, dict[str, bytes]]:
    """Verify a bundle whole and return its manifest and files; nothing is written or run.

    The signature is checked before anything else is read; then exactly the listed files are read, each to its listed
    size. A member that is not listed, listed twice, compressed, too large or altered refuses the bundle.

    Raises:
        SourceError: No such file, or no bundle.
        IntegrityError: See above.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if ENVELOPE not in names or len(names) != len(set(names)) or len(names) > MAX_FILES:
                raise IntegrityError(
                    f"{path.name} is no bundle: no manifest, a file twice, or too many files"
                )
            by_name = {member.filename: member for member in members}
            manifest = Manifest.from_bytes(
                verify(_read(archive, by_name[ENVELOPE], 4 * 1024 * 1024), trusted)
            )
            strangers = set(names) - {ENVELOPE} - set(manifest.files)
            missing = set(manifest.files) - set(names)
            if strangers or missing:
                what = (
                    f"holds {min(strangers)!r}, which its manifest does not list"
                    if strangers
                    else f"lacks {min(missing)!r}"
                )
                raise IntegrityError(f"{path.name} {what}")
            files = {}
            for name, (size_bytes, digest) in manifest.files.items():
                data = _read(archive, by_name[name], size_bytes)
                if len(data) != size_bytes or sha256_hex(data) != digest:
                    raise IntegrityError(f"{path.name}: {name} was altered")
                files[name] = data
            return manifest, files
    except FileNotFoundError:
        raise SourceError(f"there is no file {path}") from None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise SourceError(f"{path} is no bundle: {error}") from error


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit_bytes: int) -> bytes:
    if (
        not _MEMBER.match(member.filename)
        or member.compress_type != zipfile.ZIP_STORED
        or member.flag_bits & ~_UTF8_NAME
    ):
        raise IntegrityError(f"{member.filename!r}: not a plainly stored file of a bundle")
    if member.file_size > min(limit_bytes, MAX_FILE_BYTES):
        raise IntegrityError(f"{member.filename!r} is larger than its manifest says")
    with archive.open(member) as file:
        return file.read(limit_bytes + 1)
