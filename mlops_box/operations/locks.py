"""Locks between processes that the kernel takes back when their holder dies, however it dies (``flock(2)``)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mlops_box.errors import StorageError


class FileLock:
    """One lock on one file; the file is made when absent and never deleted (deleting it would split the lock)."""

    def __init__(self, path: Path):
        self.path = path
        self._descriptor: int | None = None

    def try_acquire(self, *, shared: bool = False) -> bool:
        """Take it if it is free now; ``shared`` lets other shared holders in.

        Raises:
            StorageError: The file cannot be made.
        """
        try:
            # Not inherited (close-on-exec): a child must never keep its parent's lock alive.
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(
                f"{self.path} cannot be made: {error.strerror}", hint="see that the home may be written to"
            ) from error
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def is_held_by_somebody(self) -> bool:
        """Whether another process (or another :class:`FileLock`) holds it right now."""
        probe = FileLock(self.path)
        if not self.path.exists():
            return False
        if probe.try_acquire():
            probe.release()
            return False
        return True


@contextlib.contextmanager
def held(
    path: Path, *, shared: bool = False, poll_s: float = 0.2, waiting: Callable[[], None] | None = None
) -> Iterator[FileLock]:
    """Hold the lock on ``path`` for the block, waiting as long as it takes; ``waiting`` is called once on a wait."""
    lock = FileLock(path)
    if not lock.try_acquire(shared=shared):
        if waiting is not None:
            waiting()
        while not lock.try_acquire(shared=shared):
            time.sleep(poll_s)
    try:
        yield lock
    finally:
        lock.release()
