"""What the device did, when, and why: the entries of ``history`` in ``state.json``."""

from __future__ import annotations

import time
from typing import Any, Callable

from .boot import boot_id

Clock = Callable[[], float]
"""Seconds since 1970, by the device's own clock, which may be wrong: an act also names its boot."""


def act(what: str, version: str, why: str = "", clock: Clock = time.time) -> dict[str, Any]:
    """One entry.

    Args:
        what: ``install``, ``attempt``, ``confirm``, ``fall-back``, ``call-off``, ``rollback``.
        version: ``model@number``.
        why: For people; empty where it goes without saying.
    """
    entry = {"act": what, "version": version, "at": round(clock(), 3), "boot": boot_id()}
    return {**entry, "why": why} if why else entry
