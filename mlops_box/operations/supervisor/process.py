"""One supervised process: started, watched, started again, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from mlops_box.clock import isoformat
from mlops_box.operations.supervisor import child
from mlops_box.operations.supervisor.backoff import STABLE_S, Backoff
from mlops_box.operations.supervisor.specs import ProcessSpec
from mlops_box.operations.supervisor.state import ProcessReport, ProcessState
from mlops_box.runs import process_owner


class Supervised:
    """Keeps one program alive. Not thread-safe, but for :meth:`note_health`, which only sets plain values."""

    def __init__(self, spec: ProcessSpec, *, logs: Path, cwd: Path):
        self.spec = spec
        self.log = logs / f"{spec.name}.log"
        self.state: ProcessState = "waiting"
        self.backoff = Backoff()
        self.restarts = -1
        self.last_exit: int | None = None
        self.was_well = False
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None
        self._pid_started: float | None = None
        self._started_s = 0.0
        self._started_at: str | None = None
        self._well_s = 0.0
        self._due_s = 0.0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def is_due(self) -> bool:
        return self._process is None and self.state != "stopped" and time.monotonic() >= self._due_s

    def start(self) -> None:
        """Start it; call from the main thread (see :mod:`child`)."""
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "ab") as output:
            self._process = subprocess.Popen(
                # The wrapper execs the program: same pid, same start time.
                [sys.executable, "-I", "-S", child.__file__, str(os.getpid()), *self.spec.command],
                env=dict(self.spec.env),
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._started_s = self._well_s = time.monotonic()
        self._started_at = isoformat(datetime.now(UTC))
        owner = process_owner(self._process.pid)
        self._pid_started = owner.pid_started if owner is not None else None
        self.restarts += 1
        self.state = "starting"

    def collect(self) -> int | None:
        """The exit status, once, when it has died by itself; its next start is due after the back-off."""
        if self._process is None or (status := self._process.poll()) is None:
            return None
        self.last_exit = status
        if not self.spec.spares_children:
            self._kill_session()
        self._forget()
        wait_s = self.backoff.after_death(lived_s=time.monotonic() - self._started_s)
        self._due_s = time.monotonic() + wait_s
        self.state = "backing off"
        return status

    def note_health(self, pid: int, well: bool) -> None:
        """The verdict of a health check on the process that had ``pid``."""
        if pid != self.pid:
            return
        if well:
            self._well_s = time.monotonic()
            self.was_well = True
            self.state = "up"
        elif self.state == "up":
            self.state = "unhealthy"

    @property
    def hangs(self) -> bool:
        """It lives, but has not been well for too long."""
        if self._process is None:
            return False
        patience_s = self.spec.start_s if self.state == "starting" else self.spec.hang_s
        return time.monotonic() - self._well_s > patience_s

    @property
    def is_stable(self) -> bool:
        """Well, and alive for as long as makes good for earlier deaths."""
        return self.state == "up" and time.monotonic() - self._started_s >= STABLE_S

    def kill(self) -> None:
        """SIGKILL; :meth:`collect` then sees the death, and ends the children unless they are spared."""
        if self._process is not None:
            self._process.kill()

    def ask_to_stop(self) -> None:
        """SIGTERM to the process itself: it ends its own children in its own order."""
        self.state = "stopped"
        if self._process is not None:
            self._process.terminate()

    def wait_briefly(self) -> bool:
        """Wait a fifth of a second for its end; ``True`` when it has ended."""
        if self._process is None:
            return True
        try:
            self._process.wait(0.2)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait_stopped(self, *, timeout_s: float) -> bool:
        """Wait for the end; kills what is left of its session then. ``False`` when it had to be killed itself."""
        if self._process is None:
            return True
        clean = True
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            clean = False
        self._kill_session()
        self.last_exit = self._process.wait()
        self._forget()
        return clean

    def report(self) -> ProcessReport:
        return ProcessReport(
            name=self.spec.name,
            state=self.state,
            pid=self.pid,
            pid_started=self._pid_started,
            started_at=self._started_at if self.pid is not None else None,
            restarts=max(0, self.restarts),
            last_exit=self.last_exit,
        )

    def _kill_session(self) -> None:
        """What is left of its session: children it left behind keep the session's number from being reused."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _forget(self) -> None:
        self._process = None
        self._pid_started = None
