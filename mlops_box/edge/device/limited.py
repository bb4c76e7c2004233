"""Limits of a child process: what code of a new version may use while it proves itself."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from typing import Callable

_PR_SET_PDEATHSIG = 1
_MAX_FILES = 128
_MAX_FILE_BYTES = 1024 * 1024
_MORE_TASKS = 16


def limits(cpu_seconds: float, rss_bytes: int) -> Callable[[], None]:
    """For ``preexec_fn``: bounds on processor time, address space, files, their size, processes; no core dump.

    The address space is bounded at a gigabyte above the resident memory that is allowed: libraries map far more than
    they touch. The bound on processes counts those of the same user and does not bind root.
    """
    tasks = _tasks_of_user() + _MORE_TASKS
    library = ctypes.CDLL(None)

    def apply() -> None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        seconds = max(1, round(cpu_seconds))
        for kind, most in (
            (resource.RLIMIT_CPU, seconds),
            (resource.RLIMIT_AS, rss_bytes + 1024**3),
            (resource.RLIMIT_FSIZE, _MAX_FILE_BYTES),
            (resource.RLIMIT_NOFILE, _MAX_FILES),
            (resource.RLIMIT_NPROC, tasks),
            (resource.RLIMIT_CORE, 0),
        ):
            ceiling = resource.getrlimit(kind)[1]
            allowed = most if ceiling == resource.RLIM_INFINITY else min(most, ceiling)
            resource.setrlimit(kind, (allowed, allowed))

    return apply


def die_with_parent() -> Callable[[], None]:
    """For ``preexec_fn``: the child gets SIGTERM when its parent dies, however that dies."""
    library = ctypes.CDLL(None)

    def apply() -> None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return apply


def _tasks_of_user() -> int:
    count, user = 0, os.getuid()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == user:
                    count += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                continue
    return count
