"""Bundles as they are read on both sides: the signature first, then everything else under it.

Order of :func:`open_verified`: the envelope, which is the first member, is read and its signature checked before
another byte is looked at. Its statement names every other member with its SHA-256. Then the frame of the archive, the
manifest, and every member's bytes are held against it. Memory is bounded: members are streamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from . import dsse
from .atomic import sync_folder
from .errors import Refused
from .frame import Entry, first_entry, read_entries
from .manifest import NAME as MANIFEST
from .manifest import Manifest, parse_manifest
from .strict_json import parse_object

ENVELOPE = "provenance.dsse.json"
SSH_SIGNATURE = "manifest.json.sshsig"
HEAD = (ENVELOPE, MANIFEST, SSH_SIGNATURE)
"""The members that a bundle begins with; the others follow in the order of their names."""

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
MAX_HEAD_BYTES = 4 * 1024 * 1024
_BLOCK = 256 * 1024


@dataclass(frozen=True)
class VerifiedBundle:
    """A bundle of which every byte was verified. What is read from it later is verified again."""

    path: Path
    manifest: Manifest
    statement: Mapping[str, Any]
    signer: str
    entries: Mapping[str, Entry]
    digests: Mapping[str, str]

    def read(self, name: str) -> bytes:
        """A member's bytes (for small ones: they are held in memory).

        Raises:
            Refused: No such member, or the file was changed meanwhile.
        """
        blocks: list[bytes] = []
        self._stream(name, blocks.append)
        return b"".join(blocks)

    def extract(self, into: Path, wanted: Callable[[str], bool] | None = None) -> None:
        """Write members as new files under ``into`` (which must be empty or absent), hashing while writing; synced.

        Raises:
            Refused: The file was changed meanwhile. OSError: It cannot be written.
        """
        names = [name for name in self.entries if wanted is None or wanted(name)]
        folders = {into}
        for name in names:
            target = into.joinpath(*name.split("/"))
            target.parent.mkdir(parents=True, exist_ok=True)
            folders.update(parent for parent in target.parents if into in parent.parents)
            with _new_file(target) as file:
                self._stream(name, file.write)
        into.mkdir(parents=True, exist_ok=True)
        for folder in sorted(folders, reverse=True):
            sync_folder(folder)

    def _stream(self, name: str, take: Callable[[bytes], object]) -> None:
        if name not in self.entries:
            raise Refused(f"the bundle holds no {name!r}", rule="archive.missing")
        with _opened(self.path) as file:
            _copy(file, self.entries[name], self.digests.get(name), take)


@dataclass(frozen=True)
class Look:
    """What a bundle says of itself; nothing of it was verified."""

    manifest: Manifest
    statement: Mapping[str, Any]
    signers: tuple[str, ...]
    entries: tuple[Entry, ...]


def open_verified(path: Path, trusted: Mapping[str, bytes], revoked: Collection[str] = ()) -> VerifiedBundle:
    """Verify a bundle whole; nothing is written or run.

    Args:
        trusted: Key id to 32 public bytes.
        revoked: Key ids that are trusted no more.

    Raises:
        Refused: It is not exactly what a trusted key signed.
    """
    with _opened(path) as file:
        envelope = _envelope(file)
        statement = parse_object(dsse.unwrap(envelope, dsse.STATEMENT, trusted, revoked), "the statement")
        signer = next(name for name, _ in dsse.read(envelope)[2] if name in trusted and name not in revoked)
        digests = _subjects(statement)
        entries = {entry.name: entry for entry in read_entries(file)}
        _check_members(list(entries), digests)
        manifest = parse_manifest(_bytes(file, entries[MANIFEST], digests[MANIFEST]))
        _check_manifest(manifest, entries, digests)
        for name, digest in digests.items():
            _copy(file, entries[name], digest, _nowhere)
    return VerifiedBundle(Path(path), manifest, statement, signer, entries, digests)


def look(path: Path) -> Look:
    """Read what a bundle says of itself, for people who want to see it before they trust anybody.

    Raises:
        Refused: It cannot be read as a bundle.
    """
    with _opened(path) as file:
        _, payload, signatures = dsse.read(_envelope(file))
        entries = read_entries(file)
        found = {entry.name: entry for entry in entries}
        if MANIFEST not in found:
            raise Refused("the bundle holds no manifest", rule="archive.missing")
        manifest = parse_manifest(_bytes(file, found[MANIFEST], None))
    signers = tuple(name for name, _ in signatures)
    return Look(manifest, parse_object(payload, "the statement"), signers, tuple(entries))


def _envelope(file: BinaryIO) -> bytes:
    first = first_entry(file)
    if first.name != ENVELOPE:
        raise Refused(
            f"no bundle: it begins with {first.name!r}, not with its signature", rule="archive.frame"
        )
    return _bytes(file, first, None)


def _subjects(statement: dict[str, Any]) -> dict[str, str]:
    if statement.get("_type") != STATEMENT_TYPE or statement.get("predicateType") != PREDICATE_TYPE:
        raise Refused("the statement is of another type", rule="statement.type")
    try:
        pairs = [(str(item["name"]), str(item["digest"]["sha256"])) for item in statement["subject"]]
    except (KeyError, TypeError) as error:
        raise Refused("the statement's subjects are malformed", rule="statement.malformed") from error
    subjects = dict(pairs)
    if len(subjects) != len(pairs) or not {MANIFEST, SSH_SIGNATURE} <= set(subjects):
        raise Refused("the statement names a file twice, or no manifest", rule="statement.malformed")
    return subjects


def _check_members(names: list[str], digests: Mapping[str, str]) -> None:
    strangers, missing = set(names) - {ENVELOPE} - set(digests), set(digests) - set(names)
    if strangers:
        raise Refused(f"the bundle holds {min(strangers)!r}, which nobody signed", rule="archive.stranger")
    if missing:
        raise Refused(f"the bundle lacks {min(missing)!r}", rule="archive.missing")
    if names != [*HEAD, *sorted(set(names) - set(HEAD))]:
        raise Refused("the members are out of order", rule="archive.order")


def _check_manifest(manifest: Manifest, entries: Mapping[str, Entry], digests: Mapping[str, str]) -> None:
    listed = {name: fact.sha256 for name, fact in manifest.files.items()}
    if listed != {name: digest for name, digest in digests.items() if name not in HEAD}:
        raise Refused("the manifest and the statement list different files", rule="manifest.files")
    for name, fact in manifest.files.items():
        if entries[name].size_bytes != fact.size_bytes:
            raise Refused(f"{name!r} is not as large as the manifest says", rule="archive.size")


def _bytes(file: BinaryIO, entry: Entry, digest: str | None) -> bytes:
    if entry.size_bytes > MAX_HEAD_BYTES:
        raise Refused(f"{entry.name!r} is too large", rule="archive.too-large")
    blocks: list[bytes] = []
    _copy(file, entry, digest, blocks.append)
    return b"".join(blocks)


def _copy(file: BinaryIO, entry: Entry, digest: str | None, take: Callable[[bytes], object]) -> None:
    """Hand out a member block by block; what was handed out may be used only if this returns."""
    file.seek(entry.offset)
    hashed, crc, left = hashlib.sha256(), 0, entry.size_bytes
    while left:
        block = file.read(min(left, _BLOCK))
        if not block:
            raise Refused(f"the archive is cut off in {entry.name!r}", rule="archive.frame")
        hashed.update(block)
        crc = zlib.crc32(block, crc)
        left -= len(block)
        take(block)
    if (digest is not None and hashed.hexdigest() != digest) or crc != entry.crc:
        raise Refused(f"{entry.name!r} was altered", rule="archive.altered")


def _nowhere(_: bytes) -> None:
    """Where bytes go that are only verified."""


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with open(str(path), "rb") as file:
            yield file
    except FileNotFoundError:
        raise Refused(f"there is no file {path}", rule="archive.absent") from None
    except IsADirectoryError:
        raise Refused(f"{path} is a folder, not a bundle", rule="archive.absent") from None


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(str(path), flags, 0o644), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
