"""Immutable files named by their SHA-256: put whole, read verified."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from mlops_box.clock import Clock, isoformat
from mlops_box.db import Database, Transaction
from mlops_box.errors import IntegrityError, NotFoundError, StorageError
from mlops_box.files import sync_folder

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_CHUNK_BYTES = 1 << 20
TEMPORARY = ".tmp-"


class ObjectStore:
    """Content-addressed files under one folder, registered in box.db.

    A file becomes real in this order: temporary name, fsync, rename, fsync of the folder, row in box.db.
    """

    def __init__(self, root: Path, db: Database, clock: Clock):
        self._root = root
        self._db = db
        self._clock = clock

    def put_bytes(self, data: bytes, *, kind: str) -> str:
        """Store bytes; returns their digest. Storing the same bytes again changes nothing,
        except that it mends a damaged file.

        Raises:
            StorageError: The disk is full or read-only.
        """
        digest = hashlib.sha256(data).hexdigest()
        with _storing(f"{len(data)} bytes"):
            if not self._holds(digest):
                temporary = self._folder_for(digest) / f"{TEMPORARY}{secrets.token_hex(8)}"
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                try:
                    with os.fdopen(descriptor, "wb") as file:
                        file.write(data)
                        file.flush()
                        os.fsync(file.fileno())
                    self._publish(temporary, digest)
                except BaseException:
                    temporary.unlink(missing_ok=True)
                    raise
        self._register(digest, len(data), kind)
        return digest

    def put_file(self, path: Path, *, kind: str) -> str:
        """Move a finished file of the same file system in; returns its digest.

        Raises:
            StorageError: The disk is full or read-only, or the file cannot be read.
        """
        with _storing(path.name):
            digest = _hash_file(path)
            size_bytes = path.stat().st_size
            if self._holds(digest):
                path.unlink()
            else:
                path.chmod(0o600)
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                self._folder_for(digest)
                self._publish(path, digest)
        self._register(digest, size_bytes, kind)
        return digest

    def read(self, digest: str) -> bytes:
        """The bytes, verified.

        Raises:
            NotFoundError: No such object.
            IntegrityError: The file is not what its name says, or it is gone.
            StorageError: The disk does not give it back.
        """
        path = self.path(digest)
        with _storing(f"object {digest[:12]}", doing="read"):
            data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise IntegrityError(f"object {digest[:12]} is damaged: {path}", hint="restore it from a backup")
        return data

    def path(self, digest: str, *, verify: bool = False) -> Path:
        """Where the object lies, for readers that take a path (DuckDB, pyarrow); never write to it.

        Raises:
            NotFoundError: No such object.
            IntegrityError: The file is gone although box.db names it; with ``verify``: it is not what its name says.
        """
        path = self._path(digest)
        if not path.exists():
            if self._registered(digest):
                raise IntegrityError(
                    f"object {digest[:12]} is missing: {path}", hint="restore it from a backup"
                )
            raise NotFoundError(f"there is no object {digest[:12]}", hint="run mlops-box verify")
        if verify and _hash_file(path) != digest:
            raise IntegrityError(f"object {digest[:12]} is damaged: {path}", hint="restore it from a backup")
        return path

    def exists(self, digest: str) -> bool:
        return bool(_DIGEST.match(digest)) and self._path(digest).exists()

    def problem(self, digest: str) -> str | None:
        """``"missing"``, ``"damaged"``, or ``None`` when the stored bytes are what their name says."""
        path = self._path(digest)
        if not path.exists():
            return "missing"
        return None if _hash_file(path) == digest else "damaged"

    def damaged(self) -> list[str]:
        """Digests of registered objects that are missing or altered."""
        return [digest for digest in self.digests() if self.problem(digest)]

    def digests(self) -> list[str]:
        """All registered objects, in order."""
        return [row["digest"] for row in self._db.read("SELECT digest FROM objects ORDER BY digest")]

    def sweep(self, *, older_than: timedelta) -> int:
        """Delete temporary files of writers that were killed; returns how many. Younger ones may still be written."""
        oldest = self._clock.now().timestamp() - older_than.total_seconds()
        swept = 0
        for path in self._root.glob(f"*/{TEMPORARY}*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    swept += 1
        return swept

    def forget(self, tx: Transaction, digests: Sequence[str]) -> None:
        """Strike objects from the register, in the transaction that takes away the last reference to them."""
        for digest in digests:
            tx.execute("DELETE FROM objects WHERE digest = ?", (digest,))

    def remove_files(self, digests: Sequence[str]) -> None:
        """Remove the files of objects that were forgotten, once that is committed; one that was stored anew stays.

        Raises:
            StorageError: A file cannot be removed; nothing refers to it any more.
        """
        for digest in digests:
            with _storing(f"object {digest}", doing="remove"):
                if not self._registered(digest):
                    self._path(digest).unlink(missing_ok=True)

    def _holds(self, digest: str) -> bool:
        """Does a whole file of this digest stand, durable? One that a crash left before its row is made so."""
        target = self._path(digest)
        if not target.exists() or _hash_file(target) != digest:
            return False
        if not self._registered(digest):
            with target.open("rb") as file:
                os.fsync(file.fileno())
            sync_folder(target.parent)
        return True

    def _folder_for(self, digest: str) -> Path:
        folder = self._path(digest).parent
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            sync_folder(self._root)
        return folder

    def _publish(self, temporary: Path, digest: str) -> None:
        target = self._path(digest)
        os.rename(temporary, target)
        sync_folder(target.parent)

    def _registered(self, digest: str) -> bool:
        return self._db.one("SELECT 1 FROM objects WHERE digest = ?", (digest,)) is not None

    def _register(self, digest: str, size_bytes: int, kind: str) -> None:
        if self._registered(digest):
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


@contextlib.contextmanager
def _storing(what: str, *, doing: str = "store") -> Iterator[None]:
    """The system's refusals as ours."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StorageError(
            f"cannot {doing} {what}: {error.strerror or error}",
            hint="free some space" if full else "see that the home may be written to and the disk is healthy",
        ) from error


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
