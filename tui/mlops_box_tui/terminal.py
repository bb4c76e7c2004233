"""The screen in a terminal, and its end when the terminal is gone: a closed window, a broken connection, a signal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import IO, Any

from textual.drivers.linux_driver import LinuxDriver

from mlops_box.errors import ExitCode

# Nothing wakes a program whose terminal was hung up without a signal: it has to look. One system call a second.
LOOK_EVERY_S = 1.0


class TerminalDriver(LinuxDriver):
    """Textual's own driver, which ends the app with 130 when its terminal is gone, and at SIGHUP and SIGTERM.

    Textual's takes the end of its input for a pause: it reads on, at the cost of a whole core, for ever. And its writing
    thread dies of the first text that nobody takes any more, after which the app waits for it for ever.
    """

    def __init__(self, app: Any, **options: Any):
        super().__init__(app, **options)
        self._file: Any = _Lenient(self._file, self._let_go)
        self._watch = HangUp(lambda: is_gone(self.fileno), self._leave)

    def start_application_mode(self) -> None:
        super().start_application_mode()  # type: ignore[no-untyped-call]
        for number in (signal.SIGHUP, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._end)
        self._watch.start()

    def close(self) -> None:
        self._watch.stop()
        super().close()

    def run_input_thread(self) -> None:
        try:
            super().run_input_thread()
        except OSError:
            # It was reading while the terminal went away: the next look sees that too.
            self.exit_event.set()

    def _leave(self) -> None:
        self.exit_event.set()
        self._let_go()
        self._end()

    def _end(self) -> None:
        self._app.exit(return_code=ExitCode.INTERRUPTED)

    def _let_go(self) -> None:
        """Let what is still written go nowhere: Python itself complains of it at the very end, with a code of its own."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.__stdout__, sys.__stderr__):
            if stream is not None and is_gone(stream.fileno()):
                os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class HangUp:
    """Looks whether what a screen is shown on is gone, until it is.

    Args:
        gone: Whether it is.
        then: Done once, when it is.
    """

    def __init__(self, gone: Callable[[], bool], then: Callable[[], None]):
        self._gone = gone
        self._then = then
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look now, and every second from now on; within a running loop."""
        if self._gone():
            self._then()
        else:
            self._next = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self.start)

    def stop(self) -> None:
        """Look no more."""
        if self._next is not None:
            self._next.cancel()


def is_gone(descriptor: int) -> bool:
    """Whether the terminal behind a descriptor has been hung up."""
    watched = select.poll()
    # A hang-up is told without being asked for.
    watched.register(descriptor, 0)
    return bool(watched.poll(0))


class _Lenient:
    """A file for Textual's writing thread; a text that cannot be written is dropped."""

    def __init__(self, file: IO[str], on_failure: Callable[[], None]):
        self._file = file
        self._on_failure = on_failure

    def write(self, text: str) -> None:
        self._try(lambda: self._file.write(text))

    def flush(self) -> None:
        self._try(self._file.flush)

    def fileno(self) -> int:
        return self._file.fileno()

    def _try(self, attempt: Callable[[], object]) -> None:
        try:
            attempt()
        except OSError:
            with contextlib.suppress(OSError):
                self._on_failure()
