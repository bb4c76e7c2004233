"""A question in SQL to one snapshot, and its answer as a table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import DataTable, Input, Static

from mlops_box.box import Box
from mlops_box.data.values import Snapshot
from mlops_box.errors import BoxError, NotFoundError
from mlops_box.operations.query_snapshot import MAX_ROWS, TIME_LIMIT_S, Answer, Asked, asked, query_file
from mlops_box_tui.screens.plain import PlainScreen
from mlops_box_tui.text import clean
from mlops_box_tui.widgets.grids import shown

_WIDEST = 40


class SqlScreen(PlainScreen):
    """Opened from the data view or by ``:sql``; without a name it asks the newest snapshot."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "other", "line / rows", id="sql.other", priority=True,
                tooltip="From the line to the rows of the answer, and back."),
    ]  # fmt: skip

    def __init__(self, snapshot: str | None):
        super().__init__()
        self._name = snapshot
        self._source: tuple[Snapshot, Asked] | None = None
        self._interrupt: Callable[[], None] = _nothing

    def middle(self) -> Iterable[Widget]:
        yield Input(value="select * from data limit 20", id="sql", select_on_focus=False)
        yield Static(id="sql-said", markup=False)
        yield DataTable[Text](cursor_type="row", id="answer")

    def on_mount(self) -> None:
        line = self.query_one(Input)
        line.focus()
        line.cursor_position = len(line.value)
        self._find()

    def on_unmount(self) -> None:
        # Nobody waits for the answer any more.
        self._interrupt()

    @work(exclusive=True, group="poll-sql")
    async def _find(self) -> None:
        try:
            found = await self.app.reader.ask(("sql", self._name), None, self._read)
        except BoxError as error:
            self._say_error(error)
            return
        assert found is not None
        self._source = found.value
        snapshot, look = found.value[0], self.app.look
        columns = ", ".join(column.name for column in snapshot.schema)
        self.head(Text.assemble(
            " data = ", look.text(snapshot.project, "accent"), " ", look.text(snapshot.id[:12], "quiet"), "  ",
            look.count(snapshot.rows), (" rows  ", "dim"), look.text(columns),
        ))  # fmt: skip
        self._say(
            Text(f"one SELECT, at most {MAX_ROWS} rows and {TIME_LIMIT_S:g} s; enter asks", style="dim")
        )

    def _read(self, box: Box) -> tuple[Snapshot, Asked]:
        if self._name is None:
            newest = next(iter(box.snapshots.list(limit=1)), None)
            if newest is None:
                raise NotFoundError("there is no snapshot to ask", hint="mlops-box check makes one")
            self._name = newest.id
        return box.snapshots.get(self._name), asked(box, self._name)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._source is not None:
            self._ask(self._source[1], event.value)

    @work(exclusive=True, group="poll-sql")
    async def _ask(self, source: Asked, sql: str) -> None:
        self._interrupt()
        self._say(Text("asking", style="dim"))
        try:
            answer = await asyncio.to_thread(query_file, source, sql, started=self._hold)
        except BoxError as error:
            self._say_error(error)
        else:
            self._show(answer)

    def _hold(self, interrupt: Callable[[], None]) -> None:
        self._interrupt = interrupt

    def _show(self, answer: Answer) -> None:
        look, table = self.app.look, self.query_one(DataTable)
        table.clear(columns=True)
        table.add_columns(*(Text(look.fit(clean(column))) for column in answer.columns))
        for row in answer.rows:
            cells = [shown(value, look) for value in row]
            for cell in cells:
                cell.no_wrap = True
                cell.truncate(_WIDEST, overflow=look.overflow)
            table.add_row(*cells)
        more = "; there are more" if answer.more else ""
        self._say(Text(f"{len(answer.rows)} rows{more}", style="dim"))

    def _say_error(self, error: BoxError) -> None:
        hint = f"; {error.hint}" if error.hint else ""
        self._say(self.app.look.text(f"{error.message}{hint}", "bad"))

    def _say(self, text: Text) -> None:
        text.no_wrap = False
        text.overflow = "fold"
        self.query_one("#sql-said", Static).update(text)

    def action_other(self) -> None:
        line, table = self.query_one(Input), self.query_one(DataTable)
        (table if line.has_focus else line).focus()


def _nothing() -> None:
    """There is nothing to interrupt."""
