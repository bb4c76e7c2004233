"""Starting a supervisor in the background, waiting until it is ready, and stopping it: for the faces."""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops_box.box import Box
from mlops_box.errors import BoxError, BusyError, ExitCode, IntegrityError, StorageError, UnavailableError
from mlops_box.home import Home
from mlops_box.operations.locks import FileLock
from mlops_box.operations.prefect_env import LOOPBACK, external_api, free_port, port_is_free, read_server
from mlops_box.operations.supervisor import family
from mlops_box.operations.supervisor.logfiles import KEPT, MAX_BYTES
from mlops_box.operations.supervisor.specs import UpOptions
from mlops_box.operations.supervisor.state import UP_LOCK, UpState, clear_state, read_state
from mlops_box.operations.supervisor.supervise import already_up
from mlops_box.progress import Progress
from mlops_box.serving.access import access_for, check_tokens
from mlops_box.serving.worker_bounds import WorkerBounds

DEFAULT_PORT = 8321
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 120.0


def options_for(
    home: Home,
    environ: Mapping[str, str],
    *,
    port: int | None,
    prefect_port: int | None,
    scheduler: bool = True,
    access_log: bool = False,
    workers: str = "1",
    host: str = LOOPBACK,
    allow_hosts: Sequence[str] = (),
    require_token: bool = False,
    grpc: bool = True,
    grpc_port: int | None = None,
) -> UpOptions:
    """Fill in what was not said: the usual port, and a free one (or the one in use) for Prefect; 0 is a free one.

    Raises:
        UsageError: ``workers`` is no number of workers, or the server would be reached by names that are missing or none.
    """
    WorkerBounds.parse(workers)
    access_for(host, allow_hosts=allow_hosts)
    if prefect_port is None:
        # Flows that run in place right now stay connected when the new server takes over their port.
        running = read_server(home)
        prefect_port = running.port if running is not None else free_port()
    return UpOptions(
        port=DEFAULT_PORT if port is None else port or free_port(),
        prefect_port=prefect_port,
        scheduler=scheduler,
        access_log=access_log,
        workers=workers,
        external_api=external_api(environ),
        host=host,
        allow_hosts=tuple(allow_hosts),
        require_token=require_token,
        grpc=grpc,
        grpc_port=free_port() if grpc_port == 0 else grpc_port,
    )


def is_up(home: Home) -> bool:
    """Whether a supervisor holds this home."""
    return FileLock(home.run / UP_LOCK).is_held_by_somebody()


def check_startable(home: Home, options: UpOptions) -> None:
    """Refuse early, before anything is started.

    Raises:
        BusyError: It is up already, or the port belongs to somebody else.
        UsageError: The server would ask for tokens, and there is none.
    """
    if is_up(home):
        raise already_up(home)
    access = access_for(options.host, allow_hosts=options.allow_hosts, require_token=options.require_token)
    if access.needs_token:
        with Box.open(home) as box:
            check_tokens(access, box.tokens)
    left_over = read_state(home) is not None
    if not left_over and not port_is_free(options.port):
        raise BusyError(f"port {options.port} is in use", hint="choose another: mlops-box up --port 8322")
    if not left_over and options.grpc and options.grpc_port and not port_is_free(options.grpc_port):
        raise BusyError(
            f"port {options.grpc_port} is in use", hint="choose another --grpc-port, or --no-grpc"
        )


def start_detached(home: Home, options: UpOptions, progress: Progress) -> UpState:
    """Start a supervisor that outlives this process; returns when everything is ready.

    Raises:
        BusyError: It is up already, or a port is taken.
        UnavailableError: Something did not come up; nothing is left running.
    """
    home.create()
    check_startable(home, options)
    output = home.logs / "supervisor.out"
    command = [
        sys.executable, "-m", "mlops_box.operations.supervisor", "--home", str(home.root),
        "--port", str(options.port), "--prefect-port", str(options.prefect_port),
        *([] if options.scheduler else ["--no-scheduler"]),
        *(["--access-log"] if options.access_log else []), "--workers", options.workers, *options.reach,
    ]  # fmt: skip
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=home.run,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    return _wait_ready(home, process, output, progress)


def _wait_ready(home: Home, process: subprocess.Popen[bytes], output: Path, progress: Progress) -> UpState:
    shown = ""
    deadline = time.monotonic() + START_TIMEOUT_S
    try:
        while time.monotonic() < deadline:
            state = read_state(home)
            if state is not None and state.owner.pid == process.pid:
                if state.phase == "ready":
                    return state
                shown = show_waiting(state, shown, progress)
            if process.poll() is not None:
                raise _error_in(output)
            time.sleep(0.1)
    except KeyboardInterrupt:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)
        raise
    finally:
        progress.end()
    process.terminate()
    process.wait(STOP_TIMEOUT_S)
    raise UnavailableError(f"the box was not ready in {START_TIMEOUT_S:.0f} s", hint=f"see {home.logs}")


def show_waiting(state: UpState, shown: str, progress: Progress) -> str:
    """Tell the display which process is waited for; returns what is shown now."""
    waited = next((process.name for process in state.processes if process.state != "up"), "")
    if waited and waited != shown:
        progress.end()
        progress.begin(f"starting {waited}")
    return waited


_ERRORS: dict[str, type[BoxError]] = {
    kind.code: kind for kind in (BusyError, UnavailableError, StorageError, IntegrityError)
}


def _error_in(output: Path) -> BoxError:
    """The error a supervisor ended with, as it wrote it."""
    for line in reversed(output.read_text(encoding="utf-8", errors="replace").splitlines()):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            body = json.loads(line)["error"]
            kind = _ERRORS.get(body["code"], UnavailableError)
            return kind(body["message"], hint=body["hint"], details=body["details"])
    return UnavailableError("the supervisor ended at once", hint=f"see {output}")


@dataclass(frozen=True)
class DownReport:
    """What ``down`` did: nothing ran, it stopped cleanly, or it had to be killed."""

    was_up: bool
    clean: bool
    ended: int

    def to_dict(self) -> dict[str, object]:
        return {"was_up": self.was_up, "clean": self.clean, "ended": self.ended}


def stop(home: Home, progress: Progress) -> DownReport:
    """Stop a box, or what a killed supervisor left of it; nothing to stop is fine."""
    state = read_state(home)
    if not is_up(home):
        if state is None:
            return DownReport(was_up=False, clean=True, ended=0)
        return _clear_away(home, state)
    if state is None or not state.is_alive():
        raise UnavailableError(
            "a box is starting right now", hint="try again in some seconds, or see mlops-box status"
        )
    progress.begin("stopping")
    try:
        _stop_supervisor(home, state)
    finally:
        progress.end()
    if not is_up(home):
        return DownReport(was_up=True, clean=True, ended=len(state.processes))
    for process in family.by_owner(state.owner):
        process.kill()
        process.wait(10.0)
    return _clear_away(home, state)


def _stop_supervisor(home: Home, state: UpState) -> None:
    for process in family.by_owner(state.owner):
        process.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while is_up(home) and time.monotonic() < deadline:
        time.sleep(0.1)


def _clear_away(home: Home, state: UpState) -> DownReport:
    ended = family.end_family(state, grace_s=8.0)
    clear_state(home)
    with Box.open(home) as box:
        box.runs.close_dead()
    return DownReport(was_up=ended > 0, clean=False, ended=ended)


@contextlib.contextmanager
def log_to_file(home: Home) -> Iterator[None]:
    """The supervisor's own log, rotated, for the block."""
    handler = logging.handlers.RotatingFileHandler(
        home.logs / "supervisor.log", maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("mlops_box.supervisor")
    previous = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(previous)
        handler.close()


def exit_code_of(state: UpState | None) -> int:
    """For ``status``: 0 when all is up, 6 when it is down or not ready."""
    if state is None or not state.is_alive() or state.phase != "ready":
        return int(ExitCode.UNAVAILABLE)
    return int(
        ExitCode.OK if all(process.state == "up" for process in state.processes) else ExitCode.UNAVAILABLE
    )
