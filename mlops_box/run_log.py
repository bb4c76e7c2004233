"""What one run says while it works: a file a run, ``logs/runs/ID.log``, that a reader may follow.

Steps, Python's logging records and what the user's function prints, each line with its time. Writing it never fails a run,
and it is bounded: what a run says beyond that is in its process's own output.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO

from mlops_box.clock import Clock, isoformat
from mlops_box.home import Home

MAX_BYTES = 1024 * 1024
TAIL_BYTES = 64 * 1024
_FOLDER = "runs"


def run_logs(home: Home) -> Path:
    """Where the logs of runs lie."""
    return home.logs / _FOLDER


class RunLog:
    """The log of one run, for as long as it works."""

    def __init__(self, home: Home, run_id: str, clock: Clock):
        self._path = run_logs(home) / f"{run_id}.log"
        self._clock = clock
        self._lock = threading.Lock()
        self._file: IO[str] | None = None
        self._left = MAX_BYTES

    def write(self, text: str, *, level: str = "info") -> None:
        """Add lines. A disk that takes none loses them."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            if self._left <= 0:
                return
            if self._file is None:
                self._path.parent.mkdir(mode=0o700, exist_ok=True)
                # Line by line, so that a reader sees what a killed run said last.
                self._file = self._path.open("a", encoding="utf-8", errors="replace", buffering=1)
            at = isoformat(self._clock.now())
            for line in text.splitlines():
                said = f"{at} {level:<7} {line}\n"
                self._left -= len(said.encode("utf-8", "replace"))
                self._file.write(said if self._left > 0 else f"{at} warning this log is full\n")
                if self._left <= 0:
                    return

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Takes down what this thread logs and prints in the block.

        Printing is one thing for a whole process, so that of the main thread alone is taken.
        """
        handler = _Handler(self, threading.get_ident())
        logging.getLogger().addHandler(handler)
        try:
            if threading.current_thread() is threading.main_thread() and sys.stdout is not None:
                with _Tee(sys.stdout, self) as tee, contextlib.redirect_stdout(tee):
                    yield
            else:
                yield
        finally:
            logging.getLogger().removeHandler(handler)

    def close(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
            self._left = 0


@contextlib.contextmanager
def printing_aside() -> Iterator[None]:
    """What is printed in the block goes to standard error, and into the log of the run that listens."""
    listening = sys.stdout
    if isinstance(listening, _Tee):
        with _Tee(sys.stderr, listening.log) as tee, contextlib.redirect_stdout(tee):
            yield
    else:
        with contextlib.redirect_stdout(sys.stderr):
            yield


class _Handler(logging.Handler):
    """Takes the records of one thread: another one may work on another run."""

    def __init__(self, log: RunLog, thread: int):
        super().__init__()
        self._log = log
        self._thread = thread

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread != self._thread:
            return
        with contextlib.suppress(Exception):
            self._log.write(self.format(record), level=record.levelname.lower())


class _Tee:
    """Prints where it was printed before, and takes lines down; for all else it is what was there before."""

    def __init__(self, inner: TextIO, log: RunLog):
        self._inner = inner
        self.log = log
        self._rest = ""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        if self._rest:
            self.log.write(self._rest, level="printed")
            self._rest = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, text: str) -> int:
        written = self._inner.write(text)
        whole, newline, self._rest = (self._rest + text).rpartition("\n")
        if newline:
            self.log.write(whole, level="printed")
        return written

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)


@dataclass(frozen=True)
class LogTail:
    """The newest lines of a run's log.

    Attributes:
        lines: Oldest first; ``None``: the run has none.
        cut: Whether there are older lines.
    """

    lines: tuple[str, ...] | None
    cut: bool = False


def read_tail(home: Home, run_id: str, *, max_bytes: int = TAIL_BYTES) -> LogTail:
    """The end of a run's log; a line that is still being written is left out."""
    try:
        with (run_logs(home) / f"{run_id}.log").open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - max_bytes))
            text = file.read(max_bytes)
    except (OSError, ValueError):
        return LogTail(None)
    lines = text.decode("utf-8", "replace").split("\n")
    cut = size > max_bytes
    return LogTail(tuple(lines[1 if cut else 0 : -1]), cut)
