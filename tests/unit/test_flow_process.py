"""A flow's subprocess: its output, its error and its way of ending reach the caller unchanged."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

from mlops_box.cli import flow_process
from mlops_box.errors import BoxError, ExitCode


def flow(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let the command be a small program instead of Prefect."""
    monkeypatch.setattr(flow_process, "_command", lambda name, arguments: [sys.executable, "-c", code])


def test_the_outcome_is_the_last_line_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    flow(monkeypatch, "print('warming up'); print('{\"version\": \"m@1\"}')")
    assert flow_process.flow_outcome("train", []) == {"version": "m@1"}


def test_an_error_keeps_message_hint_details_and_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    body = '{"error": {"code": "gate", "message": "no", "hint": "why", "details": {"version": "m@2"}}}'
    flow(monkeypatch, f"import sys; print('{body}'); sys.exit(4)")
    with pytest.raises(BoxError, match="no") as caught:
        flow_process.flow_outcome("train", [])
    assert caught.value.exit_code == ExitCode.GATE
    assert caught.value.to_dict()["error"]["code"] == "gate"
    assert caught.value.hint == "why"
    assert caught.value.details == {"version": "m@2"}


@pytest.mark.parametrize(
    "code", ["import os; os.kill(os.getpid(), 9)", "print('x'); raise SystemExit(77)", ""]
)
def test_an_end_without_a_report_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    flow(monkeypatch, code)
    with pytest.raises(BoxError, match="no report") as caught:
        flow_process.flow_outcome("train", [])
    assert caught.value.exit_code == ExitCode.UNEXPECTED


def test_an_interrupted_flow_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    flow(monkeypatch, "raise SystemExit(130)")
    with pytest.raises(SystemExit) as ended:
        flow_process.flow_outcome("train", [])
    assert ended.value.code == ExitCode.INTERRUPTED
    assert flow_process.run_flow("train", []) == 130
    # A runner of tests without a terminal may have SIGINT ignored, and children inherit that.
    code = (
        "import os, signal; signal.signal(signal.SIGINT, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGINT)"
    )
    flow(monkeypatch, code)
    assert flow_process.run_flow("train", []) == 130


def test_output_passes_through(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    flow(monkeypatch, "print('hello'); raise SystemExit(3)")
    assert flow_process.run_flow("train", []) == 3
    assert capfd.readouterr().out == "hello\n"


def test_a_termination_is_handed_on_and_the_handlers_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    flow(monkeypatch, "import time; time.sleep(60)")
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    timer.start()
    started = time.monotonic()
    assert flow_process.run_flow("train", []) == 130
    assert time.monotonic() - started < 20
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_the_command_starts_the_flows_by_module_name() -> None:
    assert flow_process._command("train", ["--x"]) == [
        sys.executable,
        "-m",
        "mlops_box_flows",
        "train",
        "--x",
    ]
