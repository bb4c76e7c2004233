"""The lease of the GPU: one training at a time. The kernel takes it back when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlops_box.errors import BusyError
from mlops_box.progress import Progress

_POLL_S = 0.2


@contextmanager
def gpu_lease(lock: Path | None, *, progress: Progress, wait_s: float = 3600.0) -> Iterator[None]:
    """Hold the GPU within the block; waits for another holder.

    Args:
        lock: The file whose lock is the lease; ``None``: no lease is needed.
        progress: Told when there is something to wait for.
        wait_s: Longest wait.

    Raises:
        BusyError: Another process still holds it after ``wait_s``.
    """
    if lock is None:
        yield
        return
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(descriptor, lock, progress, wait_s)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, lock: Path, progress: Progress, wait_s: float) -> None:
    if _try(descriptor):
        return
    progress.begin("wait for the GPU")
    deadline = time.monotonic() + wait_s
    try:
        while not _try(descriptor):
            if time.monotonic() >= deadline:
                raise BusyError(
                    f"another training has held the GPU for over {wait_s:.0f} s ({lock})",
                    hint="wait for it, or train on the processor",
                )
            time.sleep(_POLL_S)
    finally:
        progress.end()


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
