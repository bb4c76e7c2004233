"""Files that are there whole or not at all: written beside, synced, renamed, the folder synced."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` durable."""
    descriptor = os.open(str(folder), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hand_over(descriptor: int, folder: Path) -> None:
    """Give an open file to the owner of ``folder``: what root installs, the server's own user must be able to replace."""
    if os.geteuid() == 0:
        owner, found = os.stat(str(folder)), os.fstat(descriptor)
        if (owner.st_uid, owner.st_gid) != (found.st_uid, found.st_gid):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def write_new(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write and sync a file that must not be there yet (a link in its place is not followed).

    Raises:
        FileExistsError: It is there.
        OSError: It cannot be written; it may be there in part.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(str(path), flags, mode)
    with os.fdopen(descriptor, "wb") as file:
        hand_over(descriptor, path.parent)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_whole(path: Path, data: bytes, private: bool = False) -> None:
    """Write a file; who reads sees the old one or the new one, also after a crash.

    Args:
        private: Only its owner may read it (mode 0600, from the first byte on).

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    temporary = path.with_name(f".tmp-{os.urandom(4).hex()}-{path.name}")
    try:
        write_new(temporary, data, 0o600 if private else 0o644)
        os.rename(str(temporary), str(path))
        sync_folder(path.parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def move(source: Path, target: Path) -> None:
    """Rename a file or folder (its content synced before) durably; ``target`` must be absent."""
    os.rename(str(source), str(target))
    sync_folder(target.parent)
    if source.parent != target.parent:
        sync_folder(source.parent)


@contextlib.contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock that ``path`` names; it ends with the process, however that ends.

    Raises:
        BlockingIOError: Another process holds it, and ``wait`` is false.
    """
    descriptor = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        hand_over(descriptor, path.parent)
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
