"""What every list view does: poll, filter, sort, page, keep its cursor, say what to type when it is empty."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, TypeVar

from rich.console import Group
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import DataTable, Static

from mlops_box.box import Box
from mlops_box.errors import BoxError, UsageError
from mlops_box.operations.views import Page, Query
from mlops_box_tui.acts.acting import Acting
from mlops_box_tui.look import Look
from mlops_box_tui.reader import Fetched, Seen
from mlops_box_tui.views.marking import Marking
from mlops_box_tui.views.title import title_of
from mlops_box_tui.widgets.table import Column, Line, ResourceTable
from mlops_box_tui.widgets.told import Told

T = TypeVar("T")

# Texts like "3m ago" are drawn again this often although nothing was committed.
REDRAW_S = 5.0


@dataclass(frozen=True)
class Drawn(Generic[T]):
    """A row, how it was drawn, and when."""

    row: T
    marked: bool
    line: Line
    at_s: float


class ListView(Marking, Acting, Vertical, Generic[T], can_focus=True):
    """A resource as one table. Subclasses say what is read and how a row looks.

    Attributes:
        NAME: The view's name in commands and in the bar.
        COLUMNS: All columns, widest screen.
        EMPTY: Shown when the resource has no rows at all: what it is, and what to type.
        STATES: Values of ``state:`` that ``:name value`` understands.
    """

    NAME: ClassVar[str]
    COLUMNS: ClassVar[tuple[Column, ...]]
    EMPTY: ClassVar[tuple[str, str]]
    STATES: ClassVar[tuple[str, ...]] = ()

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("exclamation_mark", "problems", "problems", key_display="!", id="view.problems",
                tooltip="Only rows that want attention; again for all."),
        Binding("s", "sort", "sort", show=False, id="view.sort",
                tooltip="Sort by the next column; each column first down, then up. A click on a header does it too."),
        Binding("greater_than_sign", "page(1)", "next page", show=False, key_display=">", id="view.next_page",
                tooltip="The next 500 rows."),
        Binding("less_than_sign", "page(-1)", "page before", show=False, key_display="<", id="view.page_before",
                tooltip="The 500 rows before."),
        Binding("y", "copy", "copy id", show=False, id="view.copy", tooltip="Copy the id under the cursor."),
    ]  # fmt: skip

    def __init__(self, *, scope: str | None = None, filter_text: str = ""):
        super().__init__()
        self.question = Query(scope=scope, text=filter_text)
        self.page: Page[T] | None = None
        self.problem: str | None = None
        self.marks: list[str] = []
        self._seen: Seen | None = None
        self._drawn: dict[str, Drawn[T]] = {}

    # What a subclass says.

    def fetch(self, box: Box, query: Query) -> Page[T]:
        """Read one page; runs in the reader's thread."""
        raise NotImplementedError

    def key_of(self, row: T) -> str:
        """What tells this row from all others."""
        raise NotImplementedError

    def cells(self, row: T, look: Look) -> tuple[Text, ...]:
        """One cell for every column."""
        raise NotImplementedError

    def preview(self, row: T, look: Look) -> Sequence[Text]:
        """Lines about the row under the cursor, for wide screens."""
        return ()

    def detail(self, row: T) -> Screen[None] | None:
        """What Enter opens; ``None`` where :meth:`enter` does something else."""
        return None

    # What all do.

    def compose(self) -> ComposeResult:
        yield Told(markup=False, classes="title")
        yield ResourceTable(self.COLUMNS)
        yield Static(markup=False, classes="empty")
        yield Told(markup=False, classes="preview")

    def on_mount(self) -> None:
        self.query_one(".empty").display = False
        self.watch(self.table, "scroll_y", self._scrolled, init=False)
        self.redraw()

    @property
    def table(self) -> ResourceTable:
        return self.query_one(ResourceTable)

    @property
    def row(self) -> T | None:
        """The row under the cursor."""
        key = self.table.cursor_key
        rows = self.page.rows if self.page else ()
        return next((row for row in rows if self.key_of(row) == key), None)

    @property
    def act_row(self) -> T | None:
        return self.row

    def ask(self, query: Query) -> None:
        """Show the answer to another question, from its top."""
        if query != self.question:
            self.question = query
            self.poll()

    def poll(self, *, force: bool = False) -> None:
        """Read again unless nothing changed."""
        self._poll(force)

    @work(exclusive=True, group="poll-view")
    async def _poll(self, force: bool) -> None:
        query = self.question
        try:
            fetched = await self.app.reader.ask(
                query, None if force else self._seen, lambda box: self.fetch(box, query)
            )
        except UsageError as error:
            # What was typed cannot be asked; the rows stay, with the reason above them.
            self.problem = error.message
            self.app.report_read(None)
            self.redraw()
            return
        except BoxError as error:
            # What could not be read is read again, even when nothing changed meanwhile.
            self._seen = None
            self.app.report_read(error)
            return
        self._take(fetched)

    def _take(self, fetched: Fetched[Page[T]] | None) -> None:
        self.app.report_read(None)
        had_problem, self.problem = self.problem, None
        if fetched is not None:
            self.page, self._seen = fetched.value, fetched.seen
        if fetched is not None or had_problem or self.moving or self._looks_old():
            self._update()

    @property
    def moving(self) -> bool:
        """Does a row change by the clock alone?"""
        return False

    def redraw(self) -> None:
        """Draw all rows at hand anew (another theme)."""
        self._drawn.clear()
        self._update()

    def _scrolled(self) -> None:
        if self._looks_old():
            self.call_after_refresh(self._update)

    def _looks_old(self) -> bool:
        """Was a row that one sees drawn long ago?"""
        before_s = self.app.box.clock.monotonic_s() - REDRAW_S
        seen = (self._drawn.get(key) for key in self.table.seen_keys)
        return any(drawn is not None and drawn.at_s <= before_s for drawn in seen)

    def _update(self) -> None:
        """Draw the rows that changed, and of those that one sees the ones whose ages did."""
        look, now_s = self.app.look, self.app.box.clock.monotonic_s()
        older_s = now_s if self.moving else now_s - REDRAW_S
        seen = set(self.table.seen_keys)
        drawn: dict[str, Drawn[T]] = {}
        for row in self.page.rows if self.page else ():
            key = self.key_of(row)
            held, marked = self._drawn.get(key), key in self.marks
            if (
                held is None
                or held.marked != marked
                or (held.row is not row and held.row != row)
                or (key in seen and held.at_s <= older_s)
            ):
                held = Drawn(row, marked, self._line(row, look), now_s)
            drawn[key] = held
        self._drawn = drawn
        self.table.show([held.line for held in drawn.values()])
        self.query_one(".title", Told).tell(title_of(self, look))
        self._draw_empty(look)
        self.draw_preview()

    def _line(self, row: T, look: Look) -> Line:
        key, cells = self.key_of(row), self.cells(row, look)
        if key in self.marks:
            first = cells[0].copy()
            first.stylize("reverse")
            # The table compares a cell's own style, not its spans.
            first.style = f"{first.style} reverse"
            cells = (first, *cells[1:])
        return Line(key, cells)

    def draw_preview(self) -> None:
        """Lines about the row under the cursor."""
        row = self.row
        lines = self.preview(row, self.app.look) if row is not None else ()
        pane = self.query_one(".preview", Told)
        pane.display = bool(lines)
        pane.tell(*lines)
        # Whether an act applies depends on the row.
        self.refresh_acts()

    @property
    def trail(self) -> str:
        """Where one is: ``models › churn``."""
        return self.NAME if self.question.scope is None else f"{self.NAME} › {self.question.scope}"

    def _draw_empty(self, look: Look) -> None:
        pane = self.query_one(".empty", Static)
        empty = self.page is not None and not self.page.rows
        pane.display = empty
        # A hidden table cannot hold the keys; the view itself takes them meanwhile.
        # Asked of the screen: a widget hears of its focus only by a message.
        had_keys = self.screen.focused in (self.table, self)
        self.table.display = not empty
        if had_keys:
            self.take_keys()
        if not empty or self.page is None:
            return
        if self.page.total:
            lines = [Text("Nothing matches.", style="bold"), Text("esc clears the filter, ! shows all rows.")]
        else:
            what, command = self.EMPTY
            lines = [Text(look.fit(what), style="bold"), Text()]
            lines += [
                Text.assemble(("  $ ", "dim"), (part, look.style("accent"))) for part in command.splitlines()
            ]
        pane.update(Group(*lines))

    def take_keys(self) -> None:
        """The keys go to the table, or to the view where there is none to show."""
        # At once, not by a message: rows that come meanwhile may hide the table that was to have them.
        self.screen.set_focus(self.table if self.table.display else self)

    # Keys.

    def action_problems(self) -> None:
        self.ask(replace(self.question, problems=not self.question.problems, offset=0))

    def action_sort(self) -> None:
        names = [column.key for column in self.COLUMNS if column.sortable]
        query = self.question
        if not names:
            return
        if query.sort is None:
            self._sort(names[0], descending=True)
        elif query.descending:
            self._sort(query.sort, descending=False)
        else:
            place = names.index(query.sort) + 1
            self._sort(names[place] if place < len(names) else None, descending=True)

    def _sort(self, name: str | None, *, descending: bool) -> None:
        self.ask(replace(self.question, sort=name, descending=descending and name is not None, offset=0))
        self.table.mark_sort(name, self.sort_mark(self.app.look) if name else "")

    def sort_mark(self, look: Look) -> str:
        """An arrow the way the rows are sorted."""
        if look.ascii_only:
            return " v" if self.question.descending else " ^"
        return " ▾" if self.question.descending else " ▴"

    def action_page(self, pages: int) -> None:
        moved = self.question.moved(pages)
        if self.page is not None and moved.offset < self.page.matching:
            self.ask(moved)

    def action_copy(self) -> None:
        key = self.table.cursor_key
        if key is not None:
            self.app.copy_to_clipboard(key)
            self.app.notify(f"copied {key}", markup=False, timeout=2)

    def filter(self, text: str) -> None:
        """Show only what matches."""
        self.ask(replace(self.question, text=text.strip(), offset=0))

    def command_filter(self, words: str) -> str:
        """What ``:runs WORDS`` filters by: a lone state is read as ``state:``."""
        near = difflib.get_close_matches(words, self.STATES, n=1, cutoff=0.85)
        return f"state:{near[0]}" if near else words

    def clear_narrowing(self) -> bool:
        """Undo filter and problems-only; where there are none, marks; false when there was nothing to undo."""
        plain = replace(self.question, text="", problems=False, offset=0)
        narrowed = plain != self.question
        changed = narrowed or bool(self.marks)
        if not narrowed:
            self.marks.clear()
        self.ask(plain)
        self.redraw()
        return changed

    def enter(self, row: T) -> None:
        """Go deeper."""
        screen = self.detail(row)
        if screen is not None:
            self.app.push_screen(screen)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        row = self.row
        if row is not None:
            self.enter(row)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        self.draw_preview()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        event.stop()
        name = event.column_key.value
        column = next((column for column in self.COLUMNS if column.key == name), None)
        if column is not None and column.sortable:
            descending = not (self.question.sort == name and self.question.descending)
            self._sort(name, descending=descending)
