"""A table that is brought up to date row by row, so that the cursor stays on its row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

if TYPE_CHECKING:
    from mlops_box_tui.app import BoxApp

# Taking many rows out one by one costs more than filling the table anew.
REBUILD_ABOVE = 50


@dataclass(frozen=True)
class Column:
    """A column of a resource.

    Attributes:
        key: Name of the column; also the resource's sort name where ``sortable``.
        width: Cells; the ``flex`` column takes what is left, but no less than this.
        drop: Columns with the highest number leave first when the screen is narrow; 0 stays always.
        right: Numbers stand at the right.
    """

    key: str
    label: str
    width: int
    drop: int = 0
    flex: bool = False
    sortable: bool = False
    right: bool = False


@dataclass(frozen=True)
class Line:
    """One row to show: its key and a cell for every column of the resource."""

    key: str
    cells: tuple[Text, ...]


class ResourceTable(DataTable[Text], inherit_bindings=False):
    """Rows of one resource, in the order they are given."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "open", id="table.open", tooltip="Go deeper: open what the cursor is on."),
        Binding("j,down", "cursor_down", "down", show=False, id="table.down", tooltip="One row down."),
        Binding("k,up", "cursor_up", "up", show=False, id="table.up", tooltip="One row up."),
        Binding("g,home", "scroll_top", "first", show=False, id="table.first", tooltip="To the first row."),
        Binding("G,end", "scroll_bottom", "last", show=False, id="table.last", tooltip="To the last row."),
        Binding("ctrl+d,pagedown", "page_down", "page down", show=False, id="table.page_down",
                tooltip="One screen down."),
        Binding("ctrl+u,pageup", "page_up", "page up", show=False, id="table.page_up", tooltip="One screen up."),
        Binding("l,right", "scroll_right", "right", show=False, id="table.right",
                tooltip="Scroll a table that is wider than the screen."),
        Binding("h,left", "scroll_left", "left", show=False, id="table.left", tooltip="Scroll back to the left."),
    ]  # fmt: skip

    app: BoxApp

    def __init__(self, columns: Sequence[Column], *, id: str | None = None):
        super().__init__(
            cursor_type="row",
            cursor_foreground_priority="renderable",
            zebra_stripes=False,
            show_row_labels=False,
            id=id,
        )
        self.all_columns = tuple(columns)
        self._shown: tuple[Column, ...] = ()
        self._marks: tuple[str | None, str] = (None, "")
        self._lines: dict[str, tuple[tuple[str, str], ...]] = {}
        self._held: tuple[Line, ...] = ()
        # What was put last, by key: the same line again needs no look at its cells.
        self._put_lines: dict[str, Line] = {}

    @property
    def cursor_key(self) -> str | None:
        """The key of the row under the cursor."""
        if not self.row_count:
            return None
        return self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value

    @property
    def seen_keys(self) -> tuple[str, ...]:
        """The keys of the rows that stand on the screen."""
        first = max(0, int(self.scroll_y))
        return tuple(line.key for line in self._held[first : first + self.size.height])

    def show(self, lines: Sequence[Line]) -> None:
        """Bring the table up to these lines: changed cells change, new rows come, the cursor keeps its row."""
        self._held = tuple(lines)
        if not self._shown:
            return
        wanted = [line.key for line in lines]
        kept = set(wanted)
        gone = [key for key in self._lines if key not in kept]
        cursor = self.cursor_key
        place = self.cursor_row
        if len(gone) > REBUILD_ABOVE or not self._lines:
            self.clear()
            self._lines.clear()
            self._put_lines.clear()
            gone = []
        for key in gone:
            self.remove_row(key)
            del self._lines[key]
            self._put_lines.pop(key, None)
        for line in lines:
            if self._put_lines.get(line.key) is not line:
                self._put(line)
                self._put_lines[line.key] = line
        if wanted != [row.key.value for row in self.ordered_rows]:
            self._arrange(wanted)
        self._keep_cursor(cursor, place)

    def mark_sort(self, key: str | None, mark: str) -> None:
        """Show in the header which column the rows are sorted by."""
        if self._marks != (key, mark):
            self._marks = (key, mark)
            self.fit(force=True)

    def fit(self, *, force: bool = False) -> None:
        """Choose the columns that there is room for; call after a change of size."""
        room = self.size.width - 1
        if room <= 0:
            return
        columns = _that_fit(self.all_columns, room)
        if columns == self._shown and not force:
            return
        cursor = self.cursor_key
        self.clear(columns=True)
        self._lines.clear()
        self._put_lines.clear()
        self._shown = columns
        for column in columns:
            label = column.label + (self._marks[1] if column.key == self._marks[0] else "")
            justify = "right" if column.right else "left"
            header = Text(label, justify=justify, no_wrap=True)  # type: ignore[arg-type]
            self.add_column(header, key=column.key, width=column.width)
        self.show(self._held)
        self._keep_cursor(cursor, 0)

    def on_resize(self) -> None:
        self.fit()

    def _put(self, line: Line) -> None:
        by_key = dict(zip((column.key for column in self.all_columns), line.cells, strict=True))
        cells = [self._aligned(by_key[column.key], column) for column in self._shown]
        prints = tuple((cell.plain, str(cell.style)) for cell in cells)
        known = self._lines.get(line.key)
        if known is None:
            self.add_row(*cells, key=line.key)
        elif known != prints:
            for column, cell, before, after in zip(self._shown, cells, known, prints, strict=True):
                if before != after:
                    self.update_cell(line.key, column.key, cell)
        self._lines[line.key] = prints

    def _aligned(self, cell: Text, column: Column) -> Text:
        # A copy: every cell is an object of its own, which _arrange relies on.
        own = cell.copy()
        overflow = self.app.look.overflow
        own.no_wrap, own.overflow = True, overflow
        if column.right:
            own.justify = "right"
        own.truncate(column.width, overflow=overflow)
        return own

    def _arrange(self, wanted: Sequence[str]) -> None:
        """Put the rows in order. ``sort`` hands over cells, not keys; each cell stands for its row."""
        first = self._shown[0].key
        places = {id(self.get_cell(key, first)): place for place, key in enumerate(wanted)}
        self.sort(first, key=lambda cell: places[id(cell)])

    def _keep_cursor(self, key: str | None, place: int) -> None:
        if not self.row_count:
            return
        row = self.get_row_index(key) if key in self._lines and key is not None else place
        row = min(row, self.row_count - 1)
        if row != self.cursor_row:
            self.move_cursor(row=row, animate=False)


def _that_fit(columns: Sequence[Column], room: int) -> tuple[Column, ...]:
    """Drop columns, least needed first, until the rest fits; the flexible one takes what is left."""
    kept = list(columns)
    while len(kept) > 1 and sum(column.width + 2 for column in kept) > room:
        worst = max(kept, key=lambda column: column.drop)
        if worst.drop == 0:
            break
        kept.remove(worst)
    spare = max(0, room - sum(column.width + 2 for column in kept))
    return tuple(
        Column(c.key, c.label, c.width + spare, c.drop, c.flex, c.sortable, c.right) if c.flex else c
        for c in kept
    )
