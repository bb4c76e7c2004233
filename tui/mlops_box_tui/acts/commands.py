"""Commands that take long run as processes of their own: the screen goes on, and they outlive it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops_box.clock import Clock
from mlops_box.errors import StorageError
from mlops_box.home import Home
from mlops_box.ids import new_id

_TAIL_BYTES = 4096


@dataclass(frozen=True)
class Started:
    """A command under way. What it prints goes to ``log``, among the box's log files."""

    arguments: tuple[str, ...]
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def is_over(self) -> bool:
        return self.process.poll() is not None

    def said(self) -> str:
        """The error it ended with, or its last line."""
        try:
            lines = self.log.read_bytes()[-_TAIL_BYTES:].decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        told = [line.strip() for line in lines if line.strip()]
        error = next((place for place, line in enumerate(told) if line.startswith("error:")), None)
        return " ".join(told[error:]) if error is not None else (told[-1] if told else "")


def start_command(home: Home, clock: Clock, arguments: Sequence[str]) -> Started:
    """Start ``mlops-box ARGUMENTS`` on a box, in a session of its own: no key pressed here reaches it.

    Raises:
        StorageError: Its log cannot be written.
    """
    log = home.logs / f"command-{arguments[0]}-{new_id(clock)}.log"
    command = [sys.executable, "-m", "mlops_box", *arguments, "--home", str(home.root)]
    try:
        with log.open("xb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise StorageError(f"{log} cannot be written: {error.strerror}") from error
    return Started(tuple(arguments), log, process)
