"""Marked rows of a table: what acts on all of them, and what compares two."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget

from mlops_box.box import Box
from mlops_box.errors import BoxError
from mlops_box.operations.views import Page, Query
from mlops_box.operations.views.paging import PAGE_ROWS
from mlops_box_tui.acts.act import Act
from mlops_box_tui.acts.group import Group, Target
from mlops_box_tui.widgets.table import ResourceTable

if TYPE_CHECKING:
    from mlops_box_tui.app import BoxApp


class Marking(Widget):
    """Mixed into a list view. ``marks`` are keys of rows, in the order in which they were marked.

    A mark stays when its row is filtered away; what the row was then is kept.
    """

    NAME: ClassVar[str]

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "mark", show=False, id="view.mark",
                tooltip="Mark the row, or take its mark away; acts are about all marked rows."),
        Binding("asterisk", "mark_all", "mark all", show=False, key_display="*", id="view.mark_all",
                tooltip="Mark all rows that match the filter; where all are, take their marks away."),
        Binding("d", "diff", "diff", show=False, id="view.diff",
                tooltip="What differs between two marked rows, or a marked one and the one under the cursor; a "
                        "version alone is held against the champion."),
    ]  # fmt: skip

    app: BoxApp
    marks: list[str]
    page: Page[Any] | None
    question: Query

    @property
    def table(self) -> ResourceTable:
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw the rows at hand."""
        raise NotImplementedError

    def fetch(self, box: Box, query: Query) -> Page[Any]:
        """Read one page; runs in the reader's thread."""
        raise NotImplementedError

    def key_of(self, row: Any) -> str:
        """What tells this row from all others."""
        raise NotImplementedError

    def read_row(self, box: Box, key: str) -> Any:
        """A row as it is now, shown or not; for views with acts that take many.

        Raises:
            BoxError: It is gone.
        """
        raise NotImplementedError

    def diff(self, one: str, other: str) -> Screen[None] | None:
        """What compares two rows, by their keys; ``None`` where rows are not compared."""
        return None

    def rival(self) -> str | None:
        """What the row under the cursor is compared with where none is marked; ``None``: two must be marked."""
        return None

    # What is marked.

    @property
    def _held(self) -> dict[str, Any]:
        """Marked rows as they were seen last."""
        held: dict[str, Any] = self.__dict__.setdefault("_held_rows", {})
        shown = {self.key_of(row): row for row in self.page.rows} if self.page else {}
        held.update({key: shown[key] for key in self.marks if key in shown})
        for key in set(held) - set(self.marks):
            del held[key]
        return held

    @property
    def marks_not_shown(self) -> int:
        """How many marked rows are filtered away, or on another page."""
        shown = {self.key_of(row) for row in self.page.rows} if self.page else set()
        return sum(key not in shown for key in self.marks)

    def marked_targets(self) -> tuple[Target, ...]:
        held = self._held
        return tuple(Target(key, held[key]) for key in self.marks if key in held)

    def group_of(self, act: Act[Any]) -> Group:
        return Group(
            act, self.marked_targets(), self.NAME,
            again=lambda box, key, _row: self.read_row(box, key), done=self.unmark,
        )  # fmt: skip

    def unmark(self, key: str) -> None:
        """Take one mark away: what an act was done to is not acted on again by the next."""
        if key in self.marks:
            self.marks.remove(key)
            self.redraw()

    # Keys.

    def action_mark(self) -> None:
        key = self.table.cursor_key
        if key is None:
            return
        if key in self.marks:
            self.marks.remove(key)
        else:
            self.marks.append(key)
        # Kept now: the filter may take the row away before it is asked for.
        _ = self._held
        self.redraw()
        self.table.action_cursor_down()

    @work(exclusive=True, group="mark-all")
    async def action_mark_all(self) -> None:
        query = replace(self.question, offset=0)
        try:
            fetched = await self.app.reader.ask(("all", query), None, lambda box: self.fetch(box, query))
        except BoxError as error:
            self.app.say_error(error)
            return
        assert fetched is not None
        page = fetched.value
        if page.matching > len(page.rows):
            self.app.notify(
                f"{page.matching} match, and at most {PAGE_ROWS} are marked at once: narrow the filter with /",
                severity="warning", markup=False, timeout=4,
            )  # fmt: skip
            return
        rows = {self.key_of(row): row for row in page.rows}
        if all(key in self.marks for key in rows):
            self.marks[:] = [key for key in self.marks if key not in rows]
        else:
            self.marks += [key for key in rows if key not in self.marks]
            self._held.update(rows)
        self.redraw()

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
