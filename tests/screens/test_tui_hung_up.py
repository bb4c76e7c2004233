"""A terminal that goes away takes the screen in it along."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_box.errors import ExitCode

WITHIN_S = 60.0


def close_the_terminal(_: subprocess.Popen[bytes], terminal: int) -> None:
    os.close(terminal)


def hang_up_by_signal(program: subprocess.Popen[bytes], _: int) -> None:
    program.send_signal(signal.SIGHUP)


@pytest.mark.parametrize("leave", [close_the_terminal, hang_up_by_signal])
def test_the_screen_ends_when_its_terminal_is_gone(
    home: Path, leave: Callable[[subprocess.Popen[bytes], int], None]
) -> None:
    terminal, inside = pty.openpty()
    # In a session of its own without a controlling terminal, as after nohup: no signal tells of the hang-up.
    program = subprocess.Popen(
        [sys.executable, "-m", "mlops_box_tui", "--home", str(home)],
        stdin=inside, stdout=inside, stderr=inside, start_new_session=True, env={**os.environ, "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(inside)
    try:
        shown, deadline = b"", time.monotonic() + WITHIN_S
        while b"bike-rentals" not in shown:
            assert time.monotonic() < deadline
            shown += os.read(terminal, 65536)
        leave(program, terminal)
        if leave is hang_up_by_signal:
            # What it still draws wants to be taken.
            threading.Thread(target=drain, args=(terminal,), daemon=True).start()
        assert program.wait(WITHIN_S) == ExitCode.INTERRUPTED
    finally:
        program.kill()
        program.wait()


def drain(terminal: int) -> None:
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        return
