"""The driver of a screen whose terminal is a page: ends with the server that it belongs to."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from textual.drivers.web_driver import WebDriver

from mlops_box_tui.terminal import HangUp, is_gone


class BrowserDriver(WebDriver):
    """textual's own; a server that was killed tells nobody, and its screens would stay for ever."""

    def __init__(self, app: Any, **options: Any):
        super().__init__(app, **options)
        write = self._write
        self._watch = HangUp(_server_is_gone, self._app.exit)

        def lenient(data: bytes) -> int:
            # What nobody reads any more is dropped; the look that follows ends the screen.
            with contextlib.suppress(BrokenPipeError):
                return write(data)
            return len(data)

        self._write = lenient  # type: ignore[assignment]

    def start_application_mode(self) -> None:
        super().start_application_mode()
        self._watch.start()

    def close(self) -> None:
        self._watch.stop()
        super().close()


def _server_is_gone() -> bool:
    return sys.__stdin__ is None or is_gone(sys.__stdin__.fileno())
