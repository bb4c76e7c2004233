"""Cancel a run that is under way, whoever runs it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlops_box.box import Box
from mlops_box.errors import StorageError, UsageError
from mlops_box.operations.rollout import checked_reason
from mlops_box.runs import Owner, Run


@dataclass(frozen=True)
class CancelOutcome:
    """``told``: the run's process was still there, and was told to stop."""

    run: Run
    told: bool

    def to_dict(self) -> dict[str, Any]:
        return {"run": self.run.to_dict(), "told": self.told}


def cancel(box: Box, run_id: str, *, reason: str) -> CancelOutcome:
    """Close a running run as cancelled, then tell its process to stop.

    In this order, because the row is the fence: a process that is deep in a fit, or does not listen, can publish nothing
    any more. What is owned by a flow gets SIGTERM, as from its orchestrator; anything else gets SIGINT, as from Ctrl-C,
    which ends a script and only interrupts a notebook.

    Raises:
        BusyError: It ended by itself meanwhile.
        NotFoundError: There is no such run.
        StorageError: Its process belongs to somebody else; nothing was changed.
        UsageError: It has ended already, this very process runs it, or no reason was given.
    """
    reason = checked_reason(reason)
    run = box.runs.get(run_id)
    if run.state != "running":
        raise UsageError(
            f"run {run.id} is {run.state}: there is nothing to cancel",
            hint="mlops-box runs list --state running",
        )
    if run.owner.pid == os.getpid() and run.owner.is_alive():
        raise UsageError(f"run {run.id} is run by this very process", hint="press Ctrl-C")
    with _process(run.owner) as process:
        box.runs.end(run.id, "cancelled", error=f"cancelled by {box.actor}: {reason}")
        told = process is not None and _told(process, signal.SIGTERM if run.flow_run_id else signal.SIGINT)
    return CancelOutcome(box.runs.get(run.id), told)


@contextlib.contextmanager
def _process(owner: Owner) -> Iterator[int | None]:
    """A handle on the owner (pidfd_open(2)) that no later process with its number can take; ``None`` when it is gone."""
    try:
        handle = os.pidfd_open(owner.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        # Looked at after the handle was taken: from here on the number stays this process's.
        if not owner.is_alive():
            yield None
            return
        _check_ours(handle, owner.pid)
        yield handle
    finally:
        os.close(handle)


def _check_ours(process: int, pid: int) -> None:
    try:
        _told(process, 0)
    except PermissionError as error:
        raise StorageError(
            f"process {pid} belongs to another user", hint="cancel it as that user; nothing was changed"
        ) from error


def _told(process: int, number: int) -> bool:
    """Whether the process was still there for the signal; signal 0 only looks."""
    try:
        signal.pidfd_send_signal(process, number)
    except ProcessLookupError:
        return False
    return True
