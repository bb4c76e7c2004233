"""Finding and ending what an earlier supervisor left behind. Identified by its family mark, never by a name."""

from __future__ import annotations

import os
from collections.abc import Iterable

import psutil

from mlops_box.operations.supervisor.state import FAMILY, UpState
from mlops_box.runs import Owner


def members(family: str) -> list[psutil.Process]:
    """Living processes that carry the mark in their environment; never this process or its ancestors."""
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        if process.pid in mine:
            continue
        try:
            if process.environ().get(FAMILY) == family and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            # Another user's, or gone meanwhile.
            continue
    return found


def end(processes: Iterable[psutil.Process], *, grace_s: float) -> int:
    """SIGTERM, then SIGKILL for who is still there after ``grace_s``; returns how many there were."""
    chosen = list(processes)
    for process in chosen:
        _signal(process, force=False)
    _, alive = psutil.wait_procs(chosen, timeout=grace_s)
    for process in alive:
        _signal(process, force=True)
    psutil.wait_procs(alive, timeout=5.0)
    return len(chosen)


def end_family(state: UpState, *, grace_s: float) -> int:
    """End all that a dead supervisor had started, and what those had started; returns how many there were."""
    marked = members(state.family)
    known = {process.pid for process in marked}
    owners = [report.owner(state.owner.boot_id) for report in state.processes]
    recorded = [process for owner in owners if owner is not None for process in by_owner(owner)]
    return end([*marked, *(p for p in recorded if p.pid not in known)], grace_s=grace_s)


def by_owner(owner: Owner) -> list[psutil.Process]:
    """The one process that is the owner, if it lives: the same pid, start time and boot."""
    try:
        return [psutil.Process(owner.pid)] if owner.is_alive() else []
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, *, force: bool) -> None:
    try:
        process.kill() if force else process.terminate()
    except psutil.NoSuchProcess:
        return
