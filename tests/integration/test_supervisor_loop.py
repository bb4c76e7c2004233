"""The supervisor's own loop, over small stand-in programs: alarms, refusal to limp, order of the stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import flow_kit as kit
import pytest

from mlops_box.box import Box
from mlops_box.errors import BusyError, UnavailableError
from mlops_box.home import Home
from mlops_box.operations.locks import FileLock
from mlops_box.operations.prefect_env import free_port
from mlops_box.operations.supervisor import backoff, process, supervise
from mlops_box.operations.supervisor.specs import ProcessSpec, UpOptions
from mlops_box.operations.supervisor.state import UP_LOCK, read_state


@pytest.fixture
def home(tmp_path: Path) -> Home:
    place = Home(tmp_path / "home")
    place.create()
    return place


def program(name: str, code: str) -> ProcessSpec:
    return ProcessSpec(
        name, f"the {name}", (sys.executable, "-c", code), dict(os.environ), healthy=lambda _pid: True
    )


def supervise_these(
    home: Home, monkeypatch: pytest.MonkeyPatch, programs: list[ProcessSpec], script: Callable[[], None]
) -> None:
    """Run a supervisor in this thread, and ``script`` beside it; the end of the script stops it."""
    monkeypatch.setattr(supervise, "specs", lambda *_args, **_options: tuple(programs))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    options = UpOptions(port=free_port(), prefect_port=free_port(), scheduler=False)
    supervisor = supervise.Supervisor(home, options, environ=os.environ)
    failures: list[BaseException] = []

    def beside() -> None:
        try:
            script()
        except BaseException as error:  # noqa: BLE001 - carried to the test's own thread
            failures.append(error)
        finally:
            supervisor.stop()

    thread = threading.Thread(target=beside)
    thread.start()
    try:
        supervisor.run()
    finally:
        thread.join()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if failures:
        raise failures[0]


def test_a_crash_loop_raises_one_alert_that_is_resolved_when_it_is_over(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "FIRST_S", 0.05)
    monkeypatch.setattr(backoff, "LONGEST_S", 0.1)
    broken = home.root / "broken"
    code = (
        "import pathlib, sys, time\n"
        f"while not pathlib.Path({str(broken)!r}).exists(): time.sleep(0.02)\n"
        "time.sleep(0.5); sys.exit('no luck')"
    )

    def script() -> None:
        kit.until(lambda: (state := read_state(home)) and state.phase == "ready", what="ready")
        broken.touch()
        with Box.open(home, read_only=True) as box:
            alert = kit.until(lambda: box.alerts.list(state="open"), what="the alert")[0]
            assert (alert.kind, alert.model, alert.severity) == ("pipeline", "server", "error")
            assert alert.finding["last_line"] == "no luck"
            monkeypatch.setattr(process, "STABLE_S", 0.0)
            broken.unlink()
            kit.until(lambda: box.alerts.get(alert.id).state == "resolved", what="the end of the alert")
            assert len(box.alerts.list()) == 1

    supervise_these(home, monkeypatch, [program("server", code)], script)


def test_what_never_starts_is_one_clear_error_and_everything_is_stopped_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = program("prefect", "import time; time.sleep(60)")
    bad = ProcessSpec(
        "server", "inference server", (sys.executable, "-c", "raise SystemExit('port 1 is mine')"),
        dict(os.environ), healthy=lambda _pid: False,
    )  # fmt: skip
    with pytest.raises(UnavailableError, match="port 1 is mine"):
        supervise_these(
            home,
            monkeypatch,
            [good, bad],
            lambda: (
                kit.until(lambda: read_state(home) is not None)
                and kit.until(lambda: read_state(home) is None)
            ),
        )
    assert read_state(home) is None
    assert FileLock(home.run / UP_LOCK).try_acquire()


def test_the_runner_stops_first_and_prefect_last(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    record = home.root / "order"

    def noting(name: str) -> ProcessSpec:
        code = (
            "import signal, sys, time\n"
            f"def end(*_): open({str(record)!r}, 'a').write('{name} '); sys.exit(0)\n"
            f"signal.signal(signal.SIGTERM, end); open({str(home.scratch / name)!r}, 'w'); time.sleep(60)"
        )
        return program(name, code)

    names = ["prefect", "runner", "server"]
    supervise_these(
        home,
        monkeypatch,
        [noting(name) for name in names],
        lambda: kit.until(lambda: all((home.scratch / name).exists() for name in names)),
    )
    assert record.read_text().split() == ["runner", "server", "prefect"]


def test_a_home_that_is_held_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = FileLock(home.run / UP_LOCK)
    assert lock.try_acquire()
    with pytest.raises(BusyError, match="up already"):
        supervise_these(home, monkeypatch, [], lambda: None)
