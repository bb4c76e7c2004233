"""What every detail screen does: tabs, polling, links to what is related."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from rich.console import Group, RenderableType
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import ContentSwitcher, DataTable, Footer, Static

from mlops_box.box import Box
from mlops_box.errors import BoxError, NotFoundError
from mlops_box_tui.acts.acting import Acting
from mlops_box_tui.look import Look
from mlops_box_tui.reader import Seen
from mlops_box_tui.widgets.bars import StatusBar, ViewBar
from mlops_box_tui.widgets.chart import Chart, ChartPane
from mlops_box_tui.widgets.table import Column, Line, ResourceTable

T = TypeVar("T")

RELATED = "related"


@dataclass(frozen=True)
class Link:
    """Something one can go to: ``kind`` is one of :data:`mlops_box_tui.details.DETAILS`."""

    kind: str
    id: str
    why: str


@dataclass(frozen=True)
class Body:
    """What one tab shows, from top to bottom: parts, charts, the parts below them."""

    parts: Sequence[RenderableType]
    charts: Sequence[Chart] = field(default_factory=tuple)
    below: Sequence[RenderableType] = field(default_factory=tuple)


class Tab(VerticalScroll):
    """One tab: text, and charts that are made when there is something to draw."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_down", "down", show=False, id="detail.down", tooltip="One line down."),
        Binding("k,up", "scroll_up", "up", show=False, id="detail.up", tooltip="One line up."),
        Binding("g,home", "scroll_home", "top", show=False, id="detail.top", tooltip="To the top."),
        Binding("G,end", "scroll_end", "bottom", show=False, id="detail.bottom", tooltip="To the bottom."),
        Binding("ctrl+d,pagedown", "page_down", "page down", show=False, id="detail.page_down",
                tooltip="One screen down."),
        Binding("ctrl+u,pageup", "page_up", "page up", show=False, id="detail.page_up", tooltip="One screen up."),
    ]  # fmt: skip

    def compose(self) -> ComposeResult:
        yield Static(markup=False, classes="body")
        yield Static(markup=False, classes="body below")

    async def show(self, body: Body) -> None:
        """Bring the tab up to date."""
        above, below = self.query(".body").results(Static)
        above.update(Group(*body.parts))
        below.update(Group(*body.below))
        panes = list(self.query(ChartPane))
        for pane in panes[len(body.charts) :]:
            await pane.remove()
        for place, chart in enumerate(body.charts):
            if place >= len(panes):
                panes.append(ChartPane())
                await self.mount(panes[-1], before=below)
            panes[place].show(chart)


class DetailScreen(Acting, Screen[None], Generic[T]):
    """One thing whole. Subclasses say what is read and what each tab shows.

    Attributes:
        TABS: (name, title) of the tabs; one called ``related`` is added.
    """

    TABS: ClassVar[tuple[str, ...]]

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "back", "back", key_display="esc", id="detail.back", tooltip="Back to where one came from."),
        Binding("right_square_bracket,l,right", "tab(1)", "next tab", key_display="]", id="detail.next_tab",
                tooltip="The next tab."),
        Binding("left_square_bracket,h,left", "tab(-1)", "tab before", key_display="[", show=False,
                id="detail.tab_before", tooltip="The tab before."),
        Binding("y", "copy", "copy id", show=False, id="detail.copy", tooltip="Copy the id of what is shown."),
    ]  # fmt: skip

    def __init__(self, subject: str):
        super().__init__()
        self.subject = subject
        self.detail: T | None = None
        self._drawn = False
        self._seen: Seen | None = None
        self._links: tuple[Link, ...] = ()

    # What a subclass says.

    def fetch(self, box: Box) -> T:
        """Read the subject; runs in the reader's thread."""
        raise NotImplementedError

    def heading(self, detail: T, look: Look) -> Text:
        """One line: what this is and how it is."""
        raise NotImplementedError

    def body(self, tab: str, detail: T, look: Look) -> Body:
        """What a tab shows."""
        raise NotImplementedError

    def links(self, detail: T) -> Sequence[Link]:
        """What is related."""
        return ()

    def pane(self, name: str) -> Widget:
        """The widget of a tab; one that is no :class:`Tab` is drawn by :meth:`draw_tab`."""
        return Tab(id=f"tab-{name}")

    async def draw_tab(self, name: str, detail: T, look: Look) -> None:
        """Bring a tab up to date."""
        await self.query_one(f"#tab-{name}", Tab).show(self.body(name, detail, look))

    def subject_of(self, detail: T) -> Any:
        """What the acts of this screen act on."""
        return None

    # What all do.

    def compose(self) -> ComposeResult:
        yield StatusBar(id="status", markup=False)
        yield Static(id="heading", markup=False)
        tabs = [*self.TABS, RELATED]
        yield ViewBar([("", name) for name in tabs], id="tabs")
        with ContentSwitcher(initial=f"tab-{tabs[0]}"):
            for name in self.TABS:
                yield self.pane(name)
            with Vertical(id=f"tab-{RELATED}"):
                yield ResourceTable(
                    (Column("kind", "what", 10), Column("id", "id", 30), Column("why", "why", 20, flex=True)),
                    id=RELATED,
                )
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        # The clock may have asked for a reading before this screen was whole.
        if not self._drawn:
            self.query_one("#heading", Static).update(Text(" reading", style="dim"))
        self.poll()
        self._focus_tab()

    @property
    def act_row(self) -> Any:
        return None if self.detail is None else self.subject_of(self.detail)

    @property
    def tab(self) -> str:
        """The tab that is open."""
        return (self.query_one(ContentSwitcher).current or "").removeprefix("tab-")

    def poll(self, *, force: bool = False) -> None:
        """Read again unless nothing changed."""
        self._poll(force)

    @work(exclusive=True, group="poll-detail")
    async def _poll(self, force: bool) -> None:
        try:
            fetched = await self.app.reader.ask(self.subject, None if force else self._seen, self.fetch)
        except NotFoundError as error:
            self.app.report_read(None)
            self.query_one("#heading", Static).update(self.app.look.text(f" {error.message}", "bad"))
            return
        except BoxError as error:
            # What could not be read is read again, even when nothing changed meanwhile.
            self._seen = None
            self.app.report_read(error)
            return
        self.app.report_read(None)
        if fetched is not None:
            self.detail, self._seen, self._drawn = fetched.value, fetched.seen, False
        # A poll that comes while another one draws ends it half-way: what was not drawn whole is drawn again.
        if not self._drawn or self.moving:
            await self._draw()

    @property
    def moving(self) -> bool:
        """Does what is shown change by the clock alone?"""
        return False

    def redraw(self) -> None:
        """Draw what is at hand."""
        self._redraw()

    @work(exclusive=True, group="draw-detail")
    async def _redraw(self) -> None:
        await self._draw()

    async def _draw(self) -> None:
        detail, look = self.detail, self.app.look
        if detail is None or not self.query("#heading"):
            return
        self.query_one("#heading", Static).update(self.heading(detail, look))
        for name in self.TABS:
            await self.draw_tab(name, detail, look)
        self.refresh_acts()
        self._links = tuple(self.links(detail))
        self.query_one(f"#{RELATED}", ResourceTable).show([
            Line(f"{place}", (look.text(link.kind), look.text(link.id, "accent"), look.text(link.why, "quiet")))
            for place, link in enumerate(self._links)
        ])  # fmt: skip
        self._drawn = True

    def open_tab(self, name: str) -> None:
        """Show a tab."""
        self.query_one(ContentSwitcher).current = f"tab-{name}"
        self.query_one("#tabs", ViewBar).mark(name)
        self._focus_tab()

    def _focus_tab(self) -> None:
        # At once, not by a message: what is typed next belongs there.
        self.set_focus(self.focus_of(self.tab))

    def focus_of(self, name: str) -> Widget:
        """What takes the keys of a tab."""
        return self.query_one(f"#{name}" if name == RELATED else f"#tab-{name}")

    def action_tab(self, step: int) -> None:
        names = [*self.TABS, RELATED]
        self.open_tab(names[(names.index(self.tab) + step) % len(names)])

    def action_back(self) -> None:
        self.dismiss()

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self.subject)
        self.app.notify(f"copied {self.subject}", markup=False, timeout=2)

    def on_view_bar_chosen(self, event: ViewBar.Chosen) -> None:
        event.stop()
        self.open_tab(event.view)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        if event.data_table.id != RELATED:
            return
        link = self._links[int(str(event.row_key.value))]
        self.app.open_link(link)
