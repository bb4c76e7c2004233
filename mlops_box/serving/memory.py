"""Memory of this process: how much, how much loaded versions may take, and giving it back to the system."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from mlops_box.errors import UsageError

# How much versions that do not serve may take in one process.
SPARE_VARIABLE = "MLOPS_BOX_SPARE_MEMORY"
_MIB = 1 << 20
_SIZE = re.compile(r"\s*(\d+)\s*(MiB|GiB|MB|GB)\s*")
_UNITS = {"MiB": _MIB, "GiB": 1 << 30, "MB": 1_000_000, "GB": 1_000_000_000}


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not tell it this way."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def give_back() -> None:
    """Return freed memory to the system, where the C library can.

    A model leaves its memory in pieces that glibc keeps: without this a 8 MB forest costs 100 MB after it was loaded
    and 37 MB after it was dropped.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


def spare_budget(environ: Mapping[str, str]) -> int:
    """Bytes for versions that do not serve: what ``MLOPS_BOX_SPARE_MEMORY`` says (``512MiB``, ``0MiB``), else an eighth of
    the machine's memory, between 256 MiB and 4 GiB.

    Raises:
        UsageError: The variable holds something else.
    """
    text = environ.get(SPARE_VARIABLE, "").strip()
    if not text:
        return min(max(_machine_bytes() // 8, 256 * _MIB), 4096 * _MIB)
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"{SPARE_VARIABLE}={text!r} is no size", hint="write for example 512MiB or 2GiB")
    return int(match[1]) * _UNITS[match[2]]


def _machine_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return 0


@cache
def _trim() -> Any:
    import ctypes

    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None
    trim.argtypes = [ctypes.c_size_t]
    return trim
