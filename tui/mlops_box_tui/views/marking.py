"""Marked rows of a table, and what compares two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget

from mlops_box_tui.widgets.table import ResourceTable

if TYPE_CHECKING:
    from mlops_box_tui.app import BoxApp


class Marking(Widget):
    """Mixed into a list view. ``marks`` are keys of rows, in the order in which they were marked."""

    NAME: ClassVar[str]

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "mark", show=False, id="view.mark", tooltip="Mark the row, or take its mark away."),
        Binding("d", "diff", "diff", show=False, id="view.diff",
                tooltip="What differs between two marked rows, or a marked one and the one under the cursor; a "
                        "version alone is held against the champion."),
    ]  # fmt: skip

    app: BoxApp
    marks: list[str]

    @property
    def table(self) -> ResourceTable:
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw the rows at hand."""
        raise NotImplementedError

    def diff(self, one: str, other: str) -> Screen[None] | None:
        """What compares two rows, by their keys; ``None`` where rows are not compared."""
        return None

    def rival(self) -> str | None:
        """What the row under the cursor is compared with where none is marked; ``None``: two must be marked."""
        return None

    def action_mark(self) -> None:
        key = self.table.cursor_key
        if key is None:
            return
        if key in self.marks:
            self.marks.remove(key)
        else:
            self.marks.append(key)
        self.redraw()
        self.table.action_cursor_down()

    def action_diff(self) -> None:
        pair = list(self.marks)
        if not pair and (rival := self.rival()) is not None:
            pair.append(rival)
        if len(pair) == 1 and self.table.cursor_key not in (None, *pair):
            pair.append(str(self.table.cursor_key))
        if len(pair) != 2:
            self.app.notify("mark two rows with space first", markup=False, timeout=4)
            return
        screen = self.diff(*pair)
        if screen is None:
            self.app.notify(
                f"{self.NAME} are not compared: mark two versions of a model", markup=False, timeout=4
            )
        else:
            self.app.push_screen(screen)
