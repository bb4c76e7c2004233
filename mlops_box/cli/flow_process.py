"""Runs a flow as a subprocess, by its module name: the faces do not import each other."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from mlops_box.errors import BoxError, ExitCode

_MODULE = "mlops_box_flows"


def run_flow(name: str, arguments: Sequence[str]) -> int:
    """Run ``python -m mlops_box_flows NAME ARGUMENTS``; output and environment pass through.

    Returns:
        Its exit code.
    """
    with _interrupts_left_to(subprocess.Popen(_command(name, arguments))) as process:
        return _exit_code(process.wait())


def flow_outcome(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Run a flow with ``--json`` and return what it found; progress still shows on standard error.

    Raises:
        BoxError: What the flow raised, with its message, hint, details and exit code.
        SystemExit: It was interrupted.
    """
    command = [*_command(name, arguments), "--json"]
    with _interrupts_left_to(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as process:
        output, _ = process.communicate()
    code = _exit_code(process.returncode)
    body = _last_json(output)
    if code == ExitCode.INTERRUPTED:
        # It has said so itself.
        raise SystemExit(int(code))
    if code == ExitCode.OK and body is not None:
        return body
    raise _error(name, code, body)


def _command(name: str, arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", _MODULE, name, *arguments]


def _exit_code(status: int) -> int:
    """A child ended by SIGINT or SIGTERM was interrupted; by another signal, it failed."""
    if status >= 0:
        return status
    interrupted = -status in (signal.SIGINT, signal.SIGTERM)
    return int(ExitCode.INTERRUPTED if interrupted else ExitCode.UNEXPECTED)


@contextlib.contextmanager
def _interrupts_left_to(process: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    """Ctrl-C reaches the child by itself (one terminal, one group); it ends cleanly and we report how."""

    def forward(number: int, _frame: FrameType | None) -> None:
        process.send_signal(number)

    previous = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, forward),
    }
    try:
        yield process
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if process.poll() is None:
            process.terminate()
            process.wait()


def _last_json(output: str) -> dict[str, Any] | None:
    lines = output.strip().splitlines()
    try:
        body = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _error(name: str, code: int, body: dict[str, Any] | None) -> BoxError:
    facts = (body or {}).get("error")
    if not isinstance(facts, dict):
        error = BoxError(
            f"the {name} flow ended with exit code {code} and no report", hint="mlops-box runs list"
        )
    else:
        error = BoxError(
            str(facts.get("message")), hint=facts.get("hint"), details=facts.get("details") or {}
        )
        error.code = str(facts.get("code"))
    known = code in ExitCode.__members__.values() and code != ExitCode.OK
    error.exit_code = ExitCode(code) if known else ExitCode.UNEXPECTED
    return error
