"""Immutable files named by their SHA-256: put whole, read verified."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

from mlops_box.clock import Clock, isoformat
from mlops_box.db import Database, Transaction
from mlops_box.errors import IntegrityError, NotFoundError, StorageError

_DIGEST = re.compile(r"^[0-9a-f]{64}$")
_CHUNK_BYTES = 1 << 20


class ObjectStore:
    """Content-addressed files under one folder, registered in box.db.

    A file becomes real in this order: temporary name, fsync, rename, fsync of the folder, row in box.db.
    """

    def __init__(self, root: Path, db: Database, clock: Clock):
        self._root = root
        self._db = db
        self._clock = clock

    def put_bytes(self, data: bytes, *, kind: str) -> str:
        """Store bytes; returns their digest. Storing the same bytes again changes nothing.

        Raises:
            StorageError: The disk is full or read-only.
        """
        digest = hashlib.sha256(data).hexdigest()
        target = self._path(digest)
        if not target.exists():
            try:
                target.parent.mkdir(mode=0o700, exist_ok=True)
                temporary = target.parent / f".tmp-{secrets.token_hex(8)}"
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                try:
                    with os.fdopen(descriptor, "wb") as file:
                        file.write(data)
                        file.flush()
                        os.fsync(file.fileno())
                    os.rename(temporary, target)
                except BaseException:
                    temporary.unlink(missing_ok=True)
                    raise
                sync_folder(target.parent)
            except OSError as error:
                raise StorageError(
                    f"cannot store {len(data)} bytes: {error.strerror or error}", hint="free some space"
                ) from error
        self._register(digest, len(data), kind)
        return digest

    def put_file(self, path: Path, *, kind: str) -> str:
        """Move a finished file of the same file system in; returns its digest."""
        digest = _hash_file(path)
        target = self._path(digest)
        size_bytes = path.stat().st_size
        try:
            if target.exists():
                path.unlink()
            else:
                target.parent.mkdir(mode=0o700, exist_ok=True)
                path.chmod(0o600)
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                os.rename(path, target)
                sync_folder(target.parent)
        except OSError as error:
            raise StorageError(
                f"cannot store {path.name}: {error.strerror or error}", hint="free some space"
            ) from error
        self._register(digest, size_bytes, kind)
        return digest

    def read(self, digest: str) -> bytes:
        """The bytes, verified.

        Raises:
            NotFoundError: No such object.
            IntegrityError: The file is not what its name says.
        """
        path = self.path(digest)
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise IntegrityError(f"object {digest[:12]} is damaged: {path}", hint="restore it from a backup")
        return data

    def path(self, digest: str, *, verify: bool = False) -> Path:
        """Where the object lies, for readers that take a path (DuckDB, pyarrow); never write to it.

        Raises:
            NotFoundError: No such object.
            IntegrityError: With ``verify``: the file is not what its name says.
        """
        path = self._path(digest)
        if not path.exists():
            raise NotFoundError(f"object {digest[:12]} is missing", hint="run mlops-box verify")
        if verify and _hash_file(path) != digest:
            raise IntegrityError(f"object {digest[:12]} is damaged: {path}", hint="restore it from a backup")
        return path

    def exists(self, digest: str) -> bool:
        return bool(_DIGEST.match(digest)) and self._path(digest).exists()

    def damaged(self) -> list[str]:
        """Digests of registered objects that are missing or altered."""
        bad = []
        for row in self._db.read("SELECT digest FROM objects ORDER BY digest"):
            path = self._path(row["digest"])
            if not path.exists() or _hash_file(path) != row["digest"]:
                bad.append(row["digest"])
        return bad

    def _register(self, digest: str, size_bytes: int, kind: str) -> None:
        if self._db.one("SELECT 1 FROM objects WHERE digest = ?", (digest,)):
            return
        with self._db.write() as tx:
            self._insert(tx, digest, size_bytes, kind)

    def _insert(self, tx: Transaction, digest: str, size_bytes: int, kind: str) -> None:
        row = {
            "digest": digest,
            "size_bytes": size_bytes,
            "kind": kind,
            "created_at": isoformat(self._clock.now()),
        }
        tx.insert("objects", row, ignore=True)

    def _path(self, digest: str) -> Path:
        if not _DIGEST.match(digest):
            raise NotFoundError(f"{digest!r} is no object id")
        return self._root / digest[:2] / digest


def sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
