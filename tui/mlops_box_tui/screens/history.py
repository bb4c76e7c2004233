"""What was done in this session: every act as the command that does the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import DataTable

from mlops_box_tui.screens.plain import PlainScreen
from mlops_box_tui.widgets.table import Column, Line, ResourceTable


class HistoryScreen(PlainScreen):
    """Opened by ``:history``; newest first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "copy command", id="history.copy", tooltip="Copy the command under the cursor."),
    ]

    def middle(self) -> Iterable[Widget]:
        yield ResourceTable((
            Column("at", "at", 11), Column("line", "command", 40, flex=True), Column("outcome", "what it did", 44, drop=1),
        ))  # fmt: skip

    def on_mount(self) -> None:
        self.query_one(ResourceTable).focus()
        self.redraw()

    def poll(self, *, force: bool = False) -> None:
        """Commands that were started may have ended."""
        self.redraw()

    def redraw(self) -> None:
        """Draw the journal."""
        look, entries = self.app.look, self.app.performer.journal.entries
        said = f" history  {len(entries)}" if entries else " nothing was done in this session yet"
        self.head(Text(said, style="bold" if entries else "dim"))
        self.query_one(ResourceTable).show([
            Line(f"{entry.number}", (look.when(entry.at), look.text(entry.line, "accent"), look.text(entry.outcome)))
            for entry in reversed(entries)
        ])  # fmt: skip

    def action_copy(self) -> None:
        key = self.query_one(ResourceTable).cursor_key
        if key is not None:
            line = self.app.performer.journal.entries[int(key)].line
            self.app.copy_to_clipboard(line)
            self.app.notify(f"copied {line}", markup=False, timeout=2)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        self.action_copy()
