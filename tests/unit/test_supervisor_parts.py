"""The parts of the supervisor: back-off, locks, log files, state, and what a killed one leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mlops_box.errors import BusyError
from mlops_box.home import Home
from mlops_box.operations.locks import FileLock, held
from mlops_box.operations.supervisor import child, family
from mlops_box.operations.supervisor.backoff import LONGEST_S, Backoff
from mlops_box.operations.supervisor.control import check_startable, is_up, options_for, stop
from mlops_box.operations.supervisor.logfiles import last_line, rotate
from mlops_box.operations.supervisor.process import Supervised
from mlops_box.operations.supervisor.specs import ProcessSpec, UpOptions, specs
from mlops_box.operations.supervisor.state import (
    FAMILY,
    UP_LOCK,
    ProcessReport,
    UpState,
    read_state,
    write_state,
)
from mlops_box.progress import SilentProgress
from mlops_box.runs import process_owner, this_process

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    place = Home(tmp_path / "home")
    place.create()
    return place


def state_of(process: subprocess.Popen[bytes], *, mark: str) -> UpState:
    owner = process_owner(process.pid)
    assert owner is not None
    report = ProcessReport("server", "up", process.pid, owner.pid_started, None, 0, None)
    return UpState(this_process(), mark, "2026-01-01T00:00:00.000Z", "ready", 1, None, False, (report,))


def test_back_off_doubles_to_its_bound_and_a_stable_life_resets_it() -> None:
    backoff = Backoff()
    waits = [backoff.after_death(lived_s=1.0) for _ in range(10)]
    assert waits[:4] == [0.5, 1.0, 2.0, 4.0]
    assert waits[-1] == LONGEST_S
    assert backoff.is_loop
    assert backoff.after_death(lived_s=61.0) == 0.5
    assert not backoff.is_loop


def test_a_lock_shuts_others_out_until_its_holder_dies(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    code = (
        "import sys, time; from pathlib import Path; from mlops_box.operations.locks import FileLock; "
        "lock = FileLock(Path(sys.argv[1])); print(lock.try_acquire(), flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert not FileLock(path).try_acquire()
        assert FileLock(path).is_held_by_somebody()
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert FileLock(path).try_acquire()


def test_shared_holders_stay_together_and_keep_an_exclusive_one_out(tmp_path: Path) -> None:
    path = tmp_path / "users"
    with held(path, shared=True), held(path, shared=True):
        assert not FileLock(path).try_acquire()
    assert FileLock(path).try_acquire()


def test_a_long_log_is_cut_in_place_and_kept_three_times(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    with path.open("ab") as writer:
        for number in range(5):
            writer.write(f"{number}".encode() * 100)
            writer.flush()
            assert rotate(path, max_bytes=50)
            assert path.stat().st_size == 0
    assert [p.name for p in sorted(tmp_path.iterdir())] == [
        "server.log", "server.log.1", "server.log.2", "server.log.3",
    ]  # fmt: skip
    assert (tmp_path / "server.log.1").read_text() == "4" * 100
    assert not rotate(path, max_bytes=50)


def test_the_last_line_of_a_log_says_why(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    assert last_line(path) == ""
    path.write_text("Traceback\n  ...\nValueError: no port\n\n")
    assert last_line(path) == "ValueError: no port"


def test_the_state_survives_the_way_to_the_disk_and_back(home: Home) -> None:
    assert read_state(home) is None
    with subprocess.Popen(SLEEP) as process:
        state = state_of(process, mark="f")
        write_state(home, state)
        assert read_state(home) == state
        process.kill()
    (home.run / "up.json").write_text('{"owner": {}}')
    assert read_state(home) is None


def test_what_a_killed_supervisor_left_is_ended_by_its_mark_and_nothing_else_is(home: Home) -> None:
    marked = {**os.environ, FAMILY: "the-old-one"}
    child_code = f"import subprocess, time; subprocess.Popen({list(SLEEP)!r}); time.sleep(60)"
    with (
        subprocess.Popen([sys.executable, "-c", child_code], env=marked) as left,
        subprocess.Popen(SLEEP, env={**os.environ, FAMILY: "another"}) as stranger,
    ):
        deadline = time.monotonic() + 10
        while len(family.members("the-old-one")) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert family.end_family(state_of(left, mark="the-old-one"), grace_s=5.0) == 2
        assert left.wait(5) is not None
        assert family.members("the-old-one") == []
        assert stranger.poll() is None
        stranger.kill()


def test_a_recycled_pid_is_never_touched() -> None:
    with subprocess.Popen(SLEEP) as process:
        state = state_of(process, mark="m")
        report = state.processes[0]
        assert report.pid_started is not None
        stale = ProcessReport("server", "up", report.pid, report.pid_started - 5, None, 0, None)
        assert (
            family.end_family(UpState(state.owner, "m", "", "ready", 1, None, False, (stale,)), grace_s=1.0)
            == 0
        )
        assert process.poll() is None
        process.kill()


def test_a_child_dies_with_its_supervisor_even_after_kill_9(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys, time; "
        f"c = subprocess.Popen([sys.executable, '-I', '-S', {child.__file__!r}, str(os.getpid()), *{list(SLEEP)!r}]); "
        "print(c.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        process = psutil.Process(pid)
        deadline = time.monotonic() + 10
        while "sleep(60)" not in " ".join(process.cmdline()[1:3]) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(supervisor.pid, signal.SIGKILL)
        psutil.wait_procs([process], timeout=10)
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_what_dies_is_started_again_and_what_hangs_is_killed(home: Home) -> None:
    spec = ProcessSpec("x", "x", SLEEP, dict(os.environ), healthy=lambda _pid: False, start_s=0.3)
    process = Supervised(spec, logs=home.logs, cwd=home.run)
    assert process.is_due
    process.start()
    first = process.pid
    assert first is not None
    assert not process.is_due
    time.sleep(0.4)
    assert process.hangs
    process.kill()
    deadline = time.monotonic() + 10
    while (status := process.collect()) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert status == -signal.SIGKILL
    assert process.state == "backing off"
    time.sleep(0.6)
    assert process.is_due
    process.start()
    process.note_health(first, True)
    assert process.state == "starting"
    assert process.pid is not None
    process.note_health(process.pid, True)
    assert process.state == "up"
    assert process.report().restarts == 1
    process.ask_to_stop()
    assert process.wait_stopped(timeout_s=10)
    assert not process.is_due


def test_a_users_prefect_means_no_server_of_our_own(home: Home) -> None:
    environ = {"PREFECT_API_URL": "http://there/api", "PREFECT_API_KEY": "k", "PATH": "/bin"}
    external = UpOptions(port=1, prefect_port=2, external_api="http://there/api")
    found = {spec.name: spec for spec in specs(home, external, family="f", environ=environ)}
    assert list(found) == ["runner", "server"]
    assert found["runner"].env["PREFECT_API_KEY"] == "k"
    assert found["runner"].after is None
    assert "PREFECT_API_KEY" not in found["server"].env
    alone = specs(home, UpOptions(port=1, prefect_port=2, scheduler=False), family="f", environ=environ)
    assert [spec.name for spec in alone] == ["server"]
    own = specs(home, UpOptions(port=1, prefect_port=2), family="f", environ={})
    assert [spec.name for spec in own] == ["prefect", "runner", "server"]


def test_the_access_log_and_a_collector_reach_the_server_only_when_they_are_asked_for(home: Home) -> None:
    def server(environ: dict[str, str], *, access_log: bool) -> ProcessSpec:
        options = options_for(home, {}, port=1, prefect_port=2, scheduler=False, access_log=access_log)
        (found,) = specs(home, options, family="f", environ=environ)
        return found

    assert "--access-log" not in server({}, access_log=False).command
    assert "--access-log" in server({}, access_log=True).command
    collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://there"}
    assert collector.items() <= server(collector, access_log=False).env.items()
    assert not any(name.startswith("OTEL_") for name in server({}, access_log=True).env)


def test_a_second_start_is_refused_before_anything_happens(home: Home) -> None:
    options = options_for(home, {}, port=1, prefect_port=None)
    lock = FileLock(home.run / UP_LOCK)
    assert not is_up(home)
    assert lock.try_acquire()
    with pytest.raises(BusyError, match="up already"):
        check_startable(home, options)
    lock.release()


def test_a_port_in_use_is_refused_before_anything_happens(home: Home) -> None:
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(BusyError, match=f"port {port} is in use"):
            check_startable(home, options_for(home, {}, port=port, prefect_port=None))
    assert list(home.logs.iterdir()) == []


def test_down_without_up_changes_nothing(tmp_path: Path) -> None:
    report = stop(Home(tmp_path / "none"), SilentProgress())
    assert (report.was_up, report.clean, report.ended) == (False, True, 0)
    assert not (tmp_path / "none").exists()
