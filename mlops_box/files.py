"""Files that are there whole or not at all: written beside, synced, renamed, the folder synced."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from mlops_box.errors import StorageError


def sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes | bytearray | memoryview, *, private: bool = False) -> None:
    """Write a file; who reads sees the old one or the new one, also after a crash.

    Args:
        private: Only its owner may read it (mode 0600, from the first byte on).

    Raises:
        StorageError: It cannot be written; what was there before still is.
    """

    def write(temporary: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        descriptor = os.open(temporary, flags, 0o600 if private else 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)

    replace_whole(path, write)


def replace_whole(path: Path, write: Callable[[Path], object]) -> None:
    """The same for what is written by a function, which is given the temporary name.

    Raises:
        StorageError: It cannot be written; what was there before still is.
    """
    temporary = path.with_name(f".tmp-{secrets.token_hex(4)}-{path.name}")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.rename(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="free some space" if full else "see that the folder exists and may be written to",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
