"""The driver of a screen whose terminal is a page: ends with the server that it belongs to."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

from textual.drivers.web_driver import WebDriver

from mlops_box_tui.terminal import LOOK_EVERY_S, is_gone


class BrowserDriver(WebDriver):
    """textual's own; a server that was killed tells nobody, and its screens would stay for ever."""

    def __init__(self, app: Any, **options: Any):
        super().__init__(app, **options)
        write = self._write
        self._looking: asyncio.TimerHandle | None = None

        def lenient(data: bytes) -> int:
            # What nobody reads any more is dropped; the look that follows ends the screen.
            with contextlib.suppress(BrokenPipeError):
                return write(data)
            return len(data)

        self._write = lenient  # type: ignore[assignment]

    def start_application_mode(self) -> None:
        super().start_application_mode()
        self._look()

    def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        super().close()

    def _look(self) -> None:
        if sys.__stdin__ is None or is_gone(sys.__stdin__.fileno()):
            self._app.exit()
        else:
            self._looking = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)
