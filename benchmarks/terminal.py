"""The real program in a real terminal: a pty, what stands on its screen and since when, keys."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_ESCAPE = re.compile(
    r"\x1b(?:\[(?P<params>[0-9;:?<>=!]*)[ -/]*(?P<final>[@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|P[^\x1b]*\x1b\\|[ -/]*[0-Z\\^-~])"
)
_PLAIN = re.compile(r"[^\x00-\x1f]+")
# Terminals that speak Kitty's keyboard protocol send escape as a sequence of its own, the others as what begins all others.
KEYS = {
    "enter": "\r",
    "escape": "\x1b",
    "escape (kitty)": "\x1b[27u",
    "down": "\x1b[B",
    "tab": "\t",
    "backspace": "\x7f",
}
TUI = (sys.executable, "-m", "mlops_box", "tui")


class Glass:
    """What a terminal shows: places text, moves of the cursor and the style that each cell was written in, as the
    parameters of its escape sequence. One cell a character."""

    def __init__(self, columns: int, rows: int):
        self.cells = [[" "] * columns for _ in range(rows)]
        self.styles = [[""] * columns for _ in range(rows)]
        self._row = self._column = 0
        self._style = ""
        self._rest = ""

    def feed(self, text: str) -> None:
        """Take what the program wrote; a sequence that is not whole yet waits for its rest."""
        text, self._rest = self._rest + text, ""
        place = 0
        while place < len(text):
            plain = _PLAIN.match(text, place)
            if plain is not None:
                self._put(plain[0])
                place = plain.end()
            elif text[place] == "\x1b":
                found = _ESCAPE.match(text, place)
                if found is None:
                    self._rest = text[place:]
                    return
                if found["final"]:
                    self._move(found["params"], found["final"])
                place = found.end()
            else:
                self._control(text[place])
                place += 1

    def _put(self, run: str) -> None:
        if self._row < len(self.cells):
            cells = self.cells[self._row]
            shown = run[: max(0, len(cells) - self._column)]
            end = self._column + len(shown)
            cells[self._column : end] = shown
            self.styles[self._row][self._column : end] = [self._style] * len(shown)
        self._column += len(run)

    def _control(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._row += 1

    def _move(self, params: str, final: str) -> None:
        if final == "m":
            self._style = params
            return
        numbers = [int(part) if part.isdecimal() else 0 for part in params.split(";")]
        if final in "Hf":
            self._row = max(numbers[0], 1) - 1
            self._column = max(numbers[1] if len(numbers) > 1 else 1, 1) - 1
        elif final == "J":
            for row in self.cells:
                row[:] = [" "] * len(row)

    def __str__(self) -> str:
        return "\n".join("".join(row).rstrip() for row in self.cells)


class Terminal:
    """A program, ``mlops-box tui`` unless another is named, in a pty of a size.

    Nothing is drawn before somebody looks, so that the program never waits for its terminal.
    """

    def __init__(
        self, home: Path, *arguments: str, columns: int = 130, rows: int = 36, program: Sequence[str] = TUI
    ):
        self.glass = Glass(columns, rows)
        self._lock = threading.Lock()
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._written: deque[tuple[float, bytes]] = deque()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "MLOPS_BOX_HOME": str(home)}
        self.started_s = time.monotonic()
        self.process = subprocess.Popen(
            [*program, *arguments],
            stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._master, 65536):
                self._written.append((time.monotonic(), data))

    def shown(self) -> str:
        with self._lock:
            while self._draw() is not None:
                pass
            return str(self.glass)

    def _draw(self) -> float | None:
        """Draw the oldest that was written and not drawn; returns when it came."""
        if not self._written:
            return None
        at_s, data = self._written.popleft()
        self.glass.feed(self._decode(data))
        return at_s

    def press(self, *keys: str) -> None:
        for key in keys:
            os.write(self._master, KEYS.get(key, key).encode())

    def seen_at_s(self, holds: Callable[[Glass], bool], *, timeout_s: float = 60.0) -> float:
        """When (on the monotonic clock) the screen first looked so; what was drawn before does not count."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with self._lock:
                while (at_s := self._draw()) is not None:
                    if holds(self.glass):
                        return at_s
            time.sleep(0.001)
        raise AssertionError(f"it did not appear in {timeout_s} s:\n{self.shown()}")

    def wait_for(self, *texts: str, timeout_s: float = 120.0) -> str:
        """Until all texts (regular expressions) stand on the screen; returns what does."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            shown = self.shown()
            if all(re.search(text, shown) for text in texts):
                return shown
            assert self.process.poll() is None, f"it left while waiting for {texts}:\n{shown}"
            time.sleep(0.05)
        raise AssertionError(f"{texts} did not appear in {timeout_s} s:\n{self.shown()}")

    def wait_until_gone(self, text: str, *, timeout_s: float = 120.0) -> None:
        """Until a text (a regular expression) stands on the screen no more."""
        deadline = time.monotonic() + timeout_s
        while re.search(text, self.shown()):
            assert time.monotonic() < deadline, f"{text} stays:\n{self.shown()}"
            time.sleep(0.05)

    def close(self) -> None:
        # The command and the screen that it started: one whose terminal is gone would spin for ever.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self._master)


@contextlib.contextmanager
def terminal(home: Path, *arguments: str) -> Iterator[Terminal]:
    opened = Terminal(home, *arguments)
    try:
        yield opened
    finally:
        opened.close()
