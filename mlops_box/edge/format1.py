"""The reader of bundles of format 1, which are no longer written (see :mod:`mlops_box.edge.bundle`).

A stored zip of ``manifest.dsse.json``, whose payload is the manifest itself, and the files that it lists. Devices do
not install it: it holds no runtime.
"""

from __future__ import annotations

import base64
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_box.canonical import sha256_hex
from mlops_box.edge.signing import verify
from mlops_box.errors import IntegrityError, SourceError

FORMAT = 1
ENVELOPE = "manifest.dsse.json"
MANIFEST_TYPE = "application/vnd.mlops-box.manifest+json"
MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_FILES = 1000
_MAX_ENVELOPE_BYTES = 4 * 1024 * 1024
_UNREADABLE = (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError)
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

    @staticmethod
    def from_bytes(data: bytes) -> Manifest:
        try:
            raw: dict[str, Any] = json.loads(data)
            if raw["format"] != FORMAT:
                raise IntegrityError(
                    f"the manifest says format {raw['format']}, in an archive of format {FORMAT}"
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


def open_format1(path: Path, trusted: bytes) -> tuple[Manifest, dict[str, bytes]]:
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
                verify(_read(archive, by_name[ENVELOPE], _MAX_ENVELOPE_BYTES), trusted, kind=MANIFEST_TYPE)
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
    except _UNREADABLE as error:
        raise SourceError(f"{path} is no bundle: {error}") from error


def is_format1(path: Path) -> bool:
    """Whether ``path`` looks like a bundle of this format, by its first member's name."""
    try:
        with path.open("rb") as file:
            return file.read(30 + len(ENVELOPE))[30:] == ENVELOPE.encode()
    except OSError:
        return False


def look_at_format1(path: Path) -> tuple[Manifest, tuple[str, ...]]:
    """(manifest, ids of the keys it says it is signed by); nothing is verified.

    Raises:
        IntegrityError: It cannot be read as a bundle.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            envelope = json.loads(_read(archive, archive.getinfo(ENVELOPE), _MAX_ENVELOPE_BYTES))
        signers = tuple(str(item["keyid"]) for item in envelope["signatures"])
        return Manifest.from_bytes(base64.b64decode(envelope["payload"], validate=True)), signers
    except (*_UNREADABLE, KeyError, TypeError) as error:
        raise IntegrityError(f"{path.name} cannot be read as a bundle: {error}") from error


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
