"""The supervisor itself: one a home, in one loop."""

from __future__ import annotations

import contextlib
import logging
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

from mlops_box.box import Box
from mlops_box.clock import isoformat
from mlops_box.errors import BoxError, BusyError, ExitCode, UnavailableError
from mlops_box.home import Home
from mlops_box.operations.locks import FileLock
from mlops_box.operations.prefect_env import port_is_free, read_server
from mlops_box.operations.supervisor import family
from mlops_box.operations.supervisor.logfiles import last_line, rotate
from mlops_box.operations.supervisor.process import Supervised
from mlops_box.operations.supervisor.specs import UpOptions, specs
from mlops_box.operations.supervisor.state import (
    UP_LOCK,
    Phase,
    UpState,
    clear_state,
    read_state,
    write_state,
)
from mlops_box.runs import this_process
from mlops_box.serving.access import reached_at

TICK_S = 0.2
HEALTH_S = 2.0
ROTATE_S = 30.0
ORPHAN_GRACE_S = 8.0
START_DEATHS = 3

log = logging.getLogger("mlops_box.supervisor")


class Supervisor:
    """Starts the processes of a box, keeps them alive, stops them in order.

    Args:
        home: The box's home, made when absent.
        options: What to start, and where.
        environ: The environment to start from.
        on_change: Told the new state at every change.
    """

    def __init__(
        self,
        home: Home,
        options: UpOptions,
        *,
        environ: Mapping[str, str],
        on_change: Callable[[UpState], None] | None = None,
    ):
        self._home = home
        self._options = options
        self._on_change = on_change
        self._family = secrets.token_hex(16)
        self._owner = this_process()
        self._phase: Phase = "starting"
        self._started_at = ""
        self._last_told: UpState | None = None
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._looping: set[str] = set()
        self._processes = tuple(
            Supervised(spec, logs=home.logs, cwd=home.run)
            for spec in specs(home, options, family=self._family, environ=environ)
        )

    def run(self) -> None:
        """Supervise until SIGTERM or SIGINT.

        Raises:
            BusyError: A supervisor of this home runs already, or a port is taken.
            UnavailableError: Something did not come up at all; all of it is stopped again.
        """
        lock = FileLock(self._home.run / UP_LOCK)
        if not _taken(lock):
            raise already_up(self._home)
        try:
            self._recover()
            for name, port in self._ports():
                if not port_is_free(port):
                    raise BusyError(
                        f"port {port} for the {name} is in use", hint=f"choose another: {_OPTION[name]}"
                    )
            self._take_signals()
            self._supervise()
        finally:
            lock.release()

    def stop(self) -> None:
        """Ask for the end; a second call asks for a quick one."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def _ports(self) -> list[tuple[str, int]]:
        own_prefect = self._options.scheduler and self._options.external_api is None
        return [("inference server", self._options.port)] + (
            [("Prefect server", self._options.prefect_port)] if own_prefect else []
        )

    def _recover(self) -> None:
        """Clear away what a killed supervisor, or a flow in place, left running; close the runs of the dead."""
        earlier = read_state(self._home)
        if earlier is not None:
            ended = family.end_family(earlier, grace_s=ORPHAN_GRACE_S)
            log.info("an earlier supervisor was killed: ended %d processes it left", ended)
        server = read_server(self._home)
        if server is not None:
            # It serves flows that run in place. They go on with the new server on its port: their clients try again.
            family.end(family.by_owner(server.owner), grace_s=ORPHAN_GRACE_S)
        with Box.open(self._home, actor="supervisor") as box:
            self._started_at = isoformat(box.clock.now())
            for run in box.runs.close_dead():
                log.info("closed run %s (%s of %s): its process is gone", run.id, run.kind, run.project)

    def _take_signals(self) -> None:
        def handle(_number: int, _frame: FrameType | None) -> None:
            self.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handle)

    def _supervise(self) -> None:
        checker = threading.Thread(target=self._check_health, name="health", daemon=True)
        checker.start()
        rotated_s = time.monotonic()
        try:
            while not self._stop.is_set():
                for process in self._processes:
                    self._tend(process)
                if self._phase == "starting" and all(p.state == "up" for p in self._processes):
                    self._phase = "ready"
                    log.info("ready")
                self._tell()
                if time.monotonic() - rotated_s > ROTATE_S:
                    rotated_s = time.monotonic()
                    for process in self._processes:
                        rotate(process.log)
                self._stop.wait(TICK_S)
        finally:
            self._stop.set()
            self._shut_down()
            checker.join(timeout=10.0)

    def _tend(self, process: Supervised) -> None:
        status = process.collect()
        if status is not None:
            log.warning("%s ended with status %d", process.spec.title, status)
            self._judge_death(process, status)
        if process.spec.name in self._looping and process.is_stable:
            self._end_alarm(process)
        if process.hangs:
            log.warning("%s does not answer: killing it", process.spec.title)
            process.kill()
        elif process.is_due and self._may_start(process):
            rotate(process.log)
            process.start()
            log.info("%s started, pid %s", process.spec.title, process.pid)

    def _may_start(self, process: Supervised) -> bool:
        needed = process.spec.after
        return needed is None or any(p.spec.name == needed and p.state == "up" for p in self._processes)

    def _judge_death(self, process: Supervised, status: int) -> None:
        """Give up when it never came up; otherwise raise the alarm once a crash loop."""
        if not process.was_well and (
            process.backoff.deaths >= START_DEATHS or status in (ExitCode.BUSY, ExitCode.STORAGE)
        ):
            raise UnavailableError(
                f"the {process.spec.title} does not start: {last_line(process.log) or f'status {status}'}",
                hint=f"see {process.log}, and mlops-box doctor",
            )
        if process.backoff.is_loop:
            self._raise_alarm(process, status)

    def _raise_alarm(self, process: Supervised, status: int) -> None:
        facts = {"process": process.spec.name, "exit": status, "last_line": last_line(process.log)[:500]}
        log.error("%s dies again and again: %s", process.spec.title, facts)
        title = f"the {process.spec.title} dies again and again"
        with self._recording() as box:
            box.alerts.raise_or_update(
                project="box",
                model=process.spec.name,
                number=None,
                kind="pipeline",
                severity="error",
                title=title,
                finding=facts,
            )
        self._looping.add(process.spec.name)

    def _end_alarm(self, process: Supervised) -> None:
        self._looping.discard(process.spec.name)
        with self._recording() as box:
            alert = box.alerts.unresolved(process.spec.name, "pipeline")
            if alert is not None:
                box.alerts.resolve(alert.id, reason="it has been up for a minute")

    @contextlib.contextmanager
    def _recording(self) -> Iterator[Box]:
        """The box, for a note that must not stop the supervision when it cannot be taken."""
        try:
            with Box.open(self._home, actor="supervisor") as box:
                yield box
        except BoxError as error:
            log.error("this could not be recorded: %s", error)

    def _check_health(self) -> None:
        while not self._stop.is_set():
            starting = False
            for process in self._processes:
                pid = process.pid
                if pid is not None:
                    process.note_health(pid, process.spec.healthy(pid))
                    starting = starting or process.state == "starting"
            self._stop.wait(0.25 if starting else HEALTH_S)

    def _shut_down(self) -> None:
        """The runner first: it cancels its runs while Prefect still listens; Prefect last."""
        self._phase = "stopping"
        order = sorted(self._processes, key=lambda p: ("runner", "server", "prefect").index(p.spec.name))
        for process in order:
            process.ask_to_stop()
            self._tell()
            deadline = time.monotonic() + process.spec.stop_s
            while process.pid is not None and time.monotonic() < deadline and not self._hurry.is_set():
                if process.wait_briefly():
                    break
            if not process.wait_stopped(timeout_s=0.1):
                log.warning("%s had to be killed", process.spec.title)
            self._tell()
        family.end(family.members(self._family), grace_s=2.0)
        with Box.open(self._home, actor="supervisor") as box:
            box.runs.close_dead()
        clear_state(self._home)
        log.info("stopped")

    def _tell(self) -> None:
        state = UpState(
            owner=self._owner,
            family=self._family,
            started_at=self._started_at,
            phase=self._phase,
            port=self._options.port,
            prefect_api=self._options.prefect_api,
            external=self._options.external_api is not None,
            processes=tuple(process.report() for process in self._processes),
            host=reached_at(self._options.host),
        )
        if state == self._last_told:
            return
        self._last_told = state
        write_state(self._home, state)
        if self._on_change is not None:
            self._on_change(state)


def _taken(lock: FileLock, *, patience_s: float = 1.0) -> bool:
    """Take the lock; who only looks whether it is held (``status``) holds it for a moment."""
    deadline = time.monotonic() + patience_s
    while not lock.try_acquire():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


_OPTION = {"inference server": "--port", "Prefect server": "--prefect-port"}


def already_up(home: Home) -> BusyError:
    """The error for a second start on one home."""
    state = read_state(home)
    pid = f" (pid {state.owner.pid})" if state is not None and state.is_alive() else ""
    return BusyError(f"{home.root} is up already{pid}", hint="mlops-box status, or mlops-box down")
