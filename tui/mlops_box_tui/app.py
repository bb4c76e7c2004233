"""The app: the screen of list views, details pushed over it, acts asked for over both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from textual import work
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.events import Event, InputEvent
from textual.reactive import reactive
from textual.screen import Screen
from textual.scrollbar import ScrollBar

from mlops_box.box import Box
from mlops_box.errors import UsageError
from mlops_box_tui.acts.performer import Performer
from mlops_box_tui.ascii import AsciiScrollBarRender
from mlops_box_tui.details import DETAILS
from mlops_box_tui.live import LiveApp
from mlops_box_tui.registry import INNER_VIEWS, VIEWS
from mlops_box_tui.screens.main import MainScreen, Place
from mlops_box_tui.settings import Settings
from mlops_box_tui.themes import NAMES, theme_of
from mlops_box_tui.widgets.bars import NARROW_BELOW, StatusBar

if TYPE_CHECKING:
    from mlops_box_tui.screens.detail import Link

TICK_S = 1.0
# The groups of workers that read for a screen.
SCREEN_POLLS = frozenset({"poll-view", "poll-detail", "poll-screen"})


@runtime_checkable
class Polled(Protocol):
    """A screen that is kept up to date while it is on top."""

    def poll(self, *, force: bool = False) -> None:
        """Read again unless nothing changed."""

    def redraw(self) -> None:
        """Draw what is at hand."""


class BoxApp(LiveApp):
    """mlops-box in a terminal.

    It reads the box through one read-only connection; an act opens the box for itself, for as long as it takes.

    Args:
        box: Opened with ``read_only=True``; the caller closes it.
        settings: Theme, characters, keys, whether anything may act.
        start: The first view.
        ready_after_s: When what stands behind the other keys is imported, beside the screen; ``None``: when it is asked
            for.
    """

    TITLE = "mlops-box"
    CSS_PATH = "styles.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (NARROW_BELOW, "-normal"), (120, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]
    ENABLE_COMMAND_PALETTE = True

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "keys", "help", key_display="?", id="app.help",
                tooltip="The keys that act right now, filter and commands."),
        Binding("p", "pause", "pause", id="app.pause", tooltip="Stop reading the box; again to go on."),
        Binding("r,ctrl+r", "refresh", "refresh", show=False, id="app.refresh", tooltip="Read everything again now."),
        Binding("z", "undo", "undo", show=False, id="app.undo",
                tooltip="Undo the newest act of the last 30 minutes that can be undone; asks first."),
        Binding("ctrl+p", "command_palette", "palette", show=False, priority=True, id="app.palette",
                tooltip="Search all commands."),
        Binding("ctrl+q", "quit", "quit", show=False, priority=True, id="app.quit", tooltip="Quit from anywhere."),
    ]  # fmt: skip

    paused: reactive[bool] = reactive(False)

    def __init__(
        self,
        box: Box,
        *,
        settings: Settings | None = None,
        start: str = "home",
        ready_after_s: float | None = None,
    ):
        super().__init__(box, settings=settings)
        self.start = start
        self.ready_after_s = ready_after_s
        self.performer = Performer(self)
        self.set_keymap(self.settings.keys)
        theme = self._theme_of(self.settings.theme)
        if theme not in self.available_themes:
            raise UsageError(f"there is no theme {theme!r}", hint="dark, light, or one of Textual's themes")
        self.theme = theme
        if self.settings.ascii_only:
            self.add_class("-ascii")
            ScrollBar.renderer = AsciiScrollBarRender

    def get_default_screen(self) -> Screen[Any]:
        return MainScreen(self.start)

    @property
    def main(self) -> MainScreen:
        """The screen of list views, below whatever is pushed over it."""
        screen = self.screen_stack[0]
        assert isinstance(screen, MainScreen)
        return screen

    def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, lambda _: self.call_after_refresh(self._redraw))
        self.set_interval(TICK_S, self._tick)
        if self.ready_after_s is not None:
            self.set_timer(self.ready_after_s, self._make_ready)
        self.read_counts(False)

    def on_unmount(self) -> None:
        self.reader.close()

    def get_key_display(self, binding: Binding) -> str:
        shown = super().get_key_display(binding)
        return shown if shown.isascii() or not self.settings.ascii_only else binding.key

    @work(thread=True, group="make-ready")
    def _make_ready(self) -> None:
        # So that the first visit of a view or a detail does not wait for its import.
        for table in (VIEWS, INNER_VIEWS, DETAILS):
            for name in table:
                table[name]

    # Keeping up.

    def _tick(self) -> None:
        self.performer.look_after_commands()
        if not self.paused:
            # A poll ends the one before it: where reading takes longer than a tick, nothing would ever be shown.
            reading = {worker.group for worker in self.workers if worker.is_running}
            if "poll-counts" not in reading:
                self.read_counts(False)
            if not reading & SCREEN_POLLS:
                self._poll_screen(force=False)
        self.redraw_status()

    def _poll_screen(self, *, force: bool) -> None:
        screen = self.screen
        if isinstance(screen, Polled):
            screen.poll(force=force)

    def look_again(self) -> None:
        """An act has changed the box: show it now."""
        self.read_counts(False)
        self._poll_screen(force=False)

    def serving_heard(self) -> None:
        view = self.main.view
        if view is not None and hasattr(view, "serving_changed"):
            self.report_read(None)
            view.serving_changed()

    def redraw_status(self) -> None:
        for bar in self.screen.query(StatusBar):
            bar.redraw()

    def _redraw(self) -> None:
        self.redraw_status()
        for screen in self.screen_stack:
            if isinstance(screen, Polled):
                screen.redraw()

    def watch_paused(self) -> None:
        if self._running:
            self.redraw_status()

    # Going.

    def go(self, view: str, *, scope: str | None = None) -> None:
        """Open a list view."""
        self.run_worker(self.main.go(Place(view, scope)), exclusive=True, group="go")

    def open_link(self, link: Link) -> None:
        """Show one thing whole."""
        self.show_thing(link.kind, link.id)

    def show_thing(self, kind: str, name: str) -> None:
        """Show one thing whole, by its kind."""
        self.push_screen(DETAILS[kind](name))

    # A screen is imported when it is opened: the first picture waits for none of them.

    def open_host(self) -> None:
        """The machine and the box's processes."""
        from mlops_box_tui.screens.host import HostScreen

        self.push_screen(HostScreen())

    def open_sql(self, snapshot: str | None) -> None:
        """A SELECT over a snapshot; over the newest where none is named."""
        from mlops_box_tui.screens.sql import SqlScreen

        self.push_screen(SqlScreen(snapshot))

    def open_history(self) -> None:
        """What was done here, as commands."""
        from mlops_box_tui.screens.history import HistoryScreen

        if not isinstance(self.screen, HistoryScreen):
            self.push_screen(HistoryScreen())

    def open_logs(self) -> None:
        """The box's log files, followed."""
        from mlops_box_tui.screens.logs import LogScreen

        if not isinstance(self.screen, LogScreen):
            self.push_screen(LogScreen(self.box.home.logs))

    def choose_theme(self, name: str) -> None:
        """Change the colours."""
        wanted = self._theme_of(name)
        if wanted in self.available_themes:
            self.theme = wanted
        else:
            self.notify(f"no theme {name}; try light or dark", severity="warning", markup=False)

    def _theme_of(self, name: str) -> str:
        return theme_of(name, sixteen_colours=self.settings.sixteen_colours)

    # Keys.

    def action_undo(self) -> None:
        self.performer.undo()

    def action_pause(self) -> None:
        self.paused = not self.paused

    def action_refresh(self) -> None:
        self.read_counts(True)
        self._poll_screen(force=True)

    def action_keys(self) -> None:
        from mlops_box_tui.screens.help import HelpScreen

        screen = self.screen
        if not isinstance(screen, HelpScreen):
            name = (
                self.main.place.view
                if isinstance(screen, MainScreen)
                else type(screen).__name__.removesuffix("Screen").lower()
            )
            self.push_screen(HelpScreen(screen, name, views=VIEWS))

    def action_command_palette(self) -> None:
        from mlops_box_tui.screens.palette import Palette

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    async def on_event(self, event: Event) -> None:
        # A key pressed while the app leaves has no screen to go to any more.
        if not (self._exit and isinstance(event, InputEvent)):
            await super().on_event(event)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the palette offers: everything here looks, nothing writes."""
        for name in VIEWS:
            yield SystemCommand(name, f"Go to {name}", lambda name=name: self._palette_go(name))
        yield SystemCommand("help", "The keys that act right now", self.action_keys)
        yield SystemCommand("history", "What was done here, as commands", self.open_history)
        yield SystemCommand("pause", "Stop or go on reading the box", self.action_pause)
        yield SystemCommand("refresh", "Read everything again now", self.action_refresh)
        for theme in NAMES:
            yield SystemCommand(
                f"theme {theme}", "Change the colours", lambda theme=theme: self.choose_theme(theme)
            )
        yield SystemCommand("logs", "Follow the box's log files", self.open_logs)
        yield SystemCommand("quit", "Leave", self.exit)

    def _palette_go(self, name: str) -> None:
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.go(name)
