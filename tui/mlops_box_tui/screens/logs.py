"""The box's log files, followed."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Log
from textual.worker import get_current_worker

from mlops_box_tui.screens.plain import PlainScreen
from mlops_box_tui.text import clean

TAIL_BYTES = 64 * 1024
MAX_LINES = 5_000


class LogScreen(PlainScreen):
    """One log file at a time; the newest lines, and what is added."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right_square_bracket", "file(1)", "next file", key_display="]", id="logs.next",
                tooltip="The next log file."),
        Binding("left_square_bracket", "file(-1)", "file before", key_display="[", show=False, id="logs.before",
                tooltip="The log file before."),
        Binding("f", "follow", "follow", id="logs.follow", tooltip="Stay at the newest line, or stay where one is."),
    ]  # fmt: skip

    def __init__(self, folder: Path):
        super().__init__()
        self._folder = folder
        self._files: list[Path] = []
        self._place = 0
        self._offset: int | None = None

    def middle(self) -> Iterable[Widget]:
        yield Log(max_lines=MAX_LINES, auto_scroll=True)

    def on_mount(self) -> None:
        self.query_one(Log).focus()
        self.poll()

    def redraw(self) -> None:
        """Draw the heading."""
        look = self.app.look
        if not self._files:
            self.head(Text(" no log file yet: mlops-box up writes them", style="dim"))
            return
        follow = "following" if self.query_one(Log).auto_scroll else "not following"
        place = f"  {self._place + 1} of {len(self._files)}  {follow}"
        self.head(Text.assemble(" ", look.text(self._files[self._place].name, "accent"), (place, "dim")))

    def poll(self, *, force: bool = False) -> None:
        """Read what was added."""
        self._files = sorted(self._folder.glob("*.log")) if self._folder.is_dir() else []
        self._place = min(self._place, max(0, len(self._files) - 1))
        self.redraw()
        if self._files:
            self._read(self._files[self._place], self._offset)

    @work(thread=True, exclusive=True, group="poll-log")
    def _read(self, path: Path, offset: int | None) -> None:
        worker = get_current_worker()
        try:
            with path.open("rb") as file:
                size = file.seek(0, io.SEEK_END)
                start = max(0, size - TAIL_BYTES) if offset is None or offset > size else offset
                file.seek(start)
                added = file.read(TAIL_BYTES)
        except OSError:
            # Rotated away between listing and opening: the next poll lists again.
            return
        lines, _, rest = added.rpartition(b"\n")
        if not worker.is_cancelled:
            self.app.call_from_thread(
                self._add, path, start + len(added) - len(rest), lines.decode("utf-8", "replace")
            )

    def _add(self, path: Path, offset: int, text: str) -> None:
        if not self._files or path != self._files[self._place]:
            return
        self._offset = offset
        self.app.report_read(None)
        if text:
            fit = self.app.look.fit
            self.query_one(Log).write_lines([fit(clean(line)) for line in text.splitlines()])

    def action_file(self, step: int) -> None:
        if self._files:
            self._place = (self._place + step) % len(self._files)
            self._offset = None
            self.query_one(Log).clear()
            self.poll()

    def action_follow(self) -> None:
        log = self.query_one(Log)
        log.auto_scroll = not log.auto_scroll
        self.redraw()
