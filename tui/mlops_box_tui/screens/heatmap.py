"""Drift of one model version: its columns by its newest windows, a cell each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import DataTable, Static

from mlops_box.operations.views import HeatCell, Heatmap, drift_heatmap
from mlops_box_tui.look import Look
from mlops_box_tui.looking import Looking
from mlops_box_tui.screens.feature import FeatureScreen
from mlops_box_tui.screens.plain import PlainScreen

_STATES = {"fine": "fine", "note": "warning", "drift": "not_fine", "cannot_tell": "cannot_tell"}
_LABEL_WIDTH = 24


class HeatTable(DataTable[Text], inherit_bindings=False):
    """Features down, windows across; the cursor is on a cell."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "open", id="heatmap.open", tooltip="Open the feature under the cursor."),
        Binding("j,down", "cursor_down", "down", show=False, id="heatmap.down", tooltip="The next feature."),
        Binding("k,up", "cursor_up", "up", show=False, id="heatmap.up", tooltip="The feature before."),
        Binding("l,right", "cursor_right", "later", id="heatmap.later", tooltip="The window after."),
        Binding("h,left", "cursor_left", "earlier", id="heatmap.earlier", tooltip="The window before."),
        Binding("ctrl+d,pagedown", "page_down", "page down", show=False, id="heatmap.page_down",
                tooltip="One screen down."),
        Binding("ctrl+u,pageup", "page_up", "page up", show=False, id="heatmap.page_up", tooltip="One screen up."),
    ]  # fmt: skip


class HeatmapScreen(Looking, PlainScreen):
    """Opened from the drift view; Enter opens the feature."""

    def __init__(self, model: str, number: int):
        super().__init__()
        self.model = model
        self.number = number
        self.map: Heatmap | None = None

    def middle(self) -> Iterable[Widget]:
        yield HeatTable(
            cursor_type="cell",
            cell_padding=0,
            show_header=False,
            zebra_stripes=False,
            cursor_foreground_priority="renderable",
        )
        yield Static(id="heat-cell", markup=False)

    def on_mount(self) -> None:
        self.query_one(HeatTable).focus()
        self.poll()

    def poll(self, *, force: bool = False) -> None:
        self._poll(force)

    @work(exclusive=True, group="poll-screen")
    async def _poll(self, force: bool) -> None:
        found = await self.look(
            ("heatmap", self.model, self.number),
            lambda box: drift_heatmap(box, self.model, self.number),
            force=force,
        )
        if found is not None:
            first, self.map = self.map is None, found
            self._fill(newest=first)

    def redraw(self) -> None:
        if self.map is not None:
            self._fill(newest=False)

    def _fill(self, *, newest: bool) -> None:
        found, look, table = self.map, self.app.look, self.query_one(HeatTable)
        assert found is not None
        at = table.cursor_coordinate
        table.clear(columns=True)
        for place in range(len(found.windows)):
            table.add_column(Text(""), key=f"{place}", width=2)
        for feature, cells in zip(found.features, found.cells, strict=True):
            label = look.text(feature)
            label.truncate(_LABEL_WIDTH, overflow=look.overflow)
            label.append("  ")
            table.add_row(*(glyph(cell, look) for cell in cells), label=label)
        if found.features:
            row, column = (0, len(found.windows) - 1) if newest else at
            table.move_cursor(row=row, column=column, animate=False)
        legend = Text("  ").join(look.state(state, word.replace("_", " ")) for word, state in _STATES.items())
        self.head(Text.assemble(" ", look.text(f"{found.model}@{found.number}", "accent"), "  ", _span(found, look),
                                "  ", legend))  # fmt: skip
        self._tell()

    def _tell(self) -> None:
        """The line about the cell under the cursor."""
        found, look = self.map, self.app.look
        if found is None:
            return
        line = self.query_one("#heat-cell", Static)
        if not found.features:
            line.update(Text(" no window of this version could be judged column by column", style="dim"))
            return
        row, column = self.query_one(HeatTable).cursor_coordinate
        line.update(cell_line(found, row, column, look))

    def on_data_table_cell_highlighted(self, event: DataTable.CellHighlighted) -> None:
        event.stop()
        self._tell()

    def on_data_table_cell_selected(self, event: DataTable.CellSelected) -> None:
        event.stop()
        if self.map is not None:
            feature = self.map.features[event.coordinate.row]
            self.app.push_screen(FeatureScreen(f"{self.model}/{feature}"))


def _span(found: Heatmap, look: Look) -> Text:
    """When the map begins at the left and ends at the right (UTC)."""
    first = found.windows[0].starts_at if found.windows else None
    last = found.windows[-1].ends_at if found.windows else None
    if first is None or last is None:
        return look.text(None, "quiet")
    end = f"{last:%H:%M}" if last.date() == first.date() else f"{last:%m-%d %H:%M}"
    return look.text(f"{first:%m-%d %H:%M} {look.arrow} {end}", "quiet")


def glyph(cell: HeatCell, look: Look) -> Text:
    """One character in the colour of its severity; unknown is ``?``."""
    state = look.state(_STATES[cell.severity])
    return Text(state.plain[0], style=state.style)


def cell_line(found: Heatmap, row: int, column: int, look: Look) -> Text:
    """Window, value and limit of a cell."""
    window, cell = found.windows[column], found.cells[row][column]
    said = look.text(cell.reason) if cell.reason else Text.assemble(
        look.text(cell.test, "accent"), " ", look.number(cell.effect), (" limit ", "dim"), look.number(cell.limit)
    )  # fmt: skip
    return Text.assemble(
        " ", look.text(found.features[row], "accent"), "  ",
        look.state(_STATES[cell.severity], cell.severity.replace("_", " ")), "  ", said,
        ("  window ", "dim"), look.when(window.starts_at), (" to ", "dim"), look.when(window.ends_at),
        ("  rows ", "dim"), look.count(window.rows),
    )  # fmt: skip
