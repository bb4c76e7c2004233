"""How many cores a training may use: it shares the machine with the servers of the box."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# Below this, threads cost more than they bring. Measured: histogram boosting of 13,000 x 17 takes 0.8 s on one thread, and
# on two threads of a busy two-core machine 9 to 36 s, because OpenMP's threads wait for each other by spinning.
_SMALL_CELLS = 2_000_000


def thread_count(cells: int | None = None) -> int:
    """One for a small matrix of ``cells`` numbers; otherwise all usable cores but one, which stays free for serving."""
    if cells is not None and cells < _SMALL_CELLS:
        return 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable - 1)


@contextmanager
def limited_threads(cells: int) -> Iterator[None]:
    """OpenMP and BLAS kept to :func:`thread_count` threads within the block."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(limits=thread_count(cells)):
        yield
