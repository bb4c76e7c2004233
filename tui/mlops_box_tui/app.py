"""The app: one screen of list views, details pushed over it, one reader below."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import work
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.events import Event, InputEvent
from textual.reactive import reactive
from textual.screen import Screen
from textual.scrollbar import ScrollBar
from textual.widgets import ContentSwitcher, Footer

from mlops_box.box import Box
from mlops_box.errors import BoxError, UsageError
from mlops_box.operations.views import Counts, ServingStatus, read_counts, read_serving
from mlops_box_tui.ascii import AsciiScrollBarRender
from mlops_box_tui.commands import Command, completions, parse_command
from mlops_box_tui.look import Look
from mlops_box_tui.reader import Reader, Seen
from mlops_box_tui.registry import INNER_VIEWS, VIEWS, View
from mlops_box_tui.screens.alert import AlertScreen
from mlops_box_tui.screens.batch import BatchScreen
from mlops_box_tui.screens.decision import DecisionScreen
from mlops_box_tui.screens.detail import DetailScreen, Link
from mlops_box_tui.screens.feature import FeatureScreen
from mlops_box_tui.screens.help import HelpScreen
from mlops_box_tui.screens.logs import LogScreen
from mlops_box_tui.screens.palette import Palette
from mlops_box_tui.screens.run import RunScreen
from mlops_box_tui.screens.version import VersionScreen
from mlops_box_tui.settings import Settings
from mlops_box_tui.views.base import ListView
from mlops_box_tui.views.serving import Traffic
from mlops_box_tui.widgets.bars import StatusBar, ViewBar
from mlops_box_tui.widgets.prompt import Prompt

TICK_S = 1.0
SERVING_EVERY_S = 2.0
THEMES = {"dark": "textual-dark", "light": "textual-light"}

DETAILS: dict[str, type[DetailScreen[Any]]] = {
    "run": RunScreen,
    "version": VersionScreen,
    "alert": AlertScreen,
    "decision": DecisionScreen,
    "batch": BatchScreen,
    "feature": FeatureScreen,
}


@dataclass(frozen=True)
class Place:
    """A view and what it is narrowed to."""

    view: str
    scope: str | None = None

    @property
    def id(self) -> str:
        # Widget ids may not hold every character of a model's name.
        return f"view-{self.view}" + (f"-{self.scope.encode().hex()}" if self.scope else "")


class MainScreen(Screen[None]):
    """The list views: one at a time, made when first visited."""

    app: BoxApp

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", show=False, id="main.back",
                tooltip="Clear the filter, else go back to where one came from."),
        Binding("slash", "filter", "filter", key_display="/", id="main.filter",
                tooltip="Filter this view: text, !text, ~text, state:failed."),
        Binding("colon", "command", "command", key_display=":", id="main.command",
                tooltip="Go to a view or a thing: :runs failed, :model NAME, :q. Tab completes."),
        Binding("minus", "last", "last view", show=False, key_display="-", id="main.last",
                tooltip="The view before, and back again."),
        Binding("q", "quit_or_back", "quit", id="main.quit",
                tooltip="Back; at the top, quit."),
        *(
            Binding(str(digit), f"go('{name}')", name, show=False, id=f"go.{name}", tooltip=f"Go to {name}.")
            for digit, name in enumerate(VIEWS, start=1)
        ),
    ]  # fmt: skip

    def __init__(self, start: str):
        super().__init__()
        self._trail: list[Place] = [Place(start)]
        self._before: Place | None = None

    def compose(self) -> ComposeResult:
        yield StatusBar(id="status", markup=False)
        yield ViewBar([(str(digit), name) for digit, name in enumerate(VIEWS, start=1)], id="views")
        yield ContentSwitcher(id="switcher")
        yield Prompt(self._words, id="prompt")
        yield Footer(show_command_palette=False, compact=True)

    async def on_mount(self) -> None:
        await self._open(self._trail[-1])

    @property
    def place(self) -> Place:
        """Where one is."""
        return self._trail[-1]

    @property
    def view(self) -> View | None:
        """The view that is shown."""
        current = self.query_one("#switcher", ContentSwitcher).visible_content
        return current if isinstance(current, View) else None

    @property
    def prompt(self) -> Prompt:
        return self.query_one(Prompt)

    def poll(self, *, force: bool = False) -> None:
        """Bring the shown view up to date."""
        if self.view is not None:
            self.view.poll(force=force)

    def redraw(self) -> None:
        """Draw the shown view again (another theme, other ages)."""
        if self.view is not None:
            self.view.redraw()

    async def go(self, place: Place, *, filter_text: str | None = None) -> None:
        """Open a view; inner views remember where one came from."""
        if place != self.place:
            self._before = self.place
        self._trail = [*self._trail, place] if place.view in INNER_VIEWS else [place]
        await self._open(place)
        if filter_text is not None and self.view is not None:
            self.view.filter(filter_text)

    async def _open(self, place: Place) -> None:
        switcher = self.query_one("#switcher", ContentSwitcher)
        if not switcher.query(f"#{place.id}"):
            kind = VIEWS.get(place.view) or INNER_VIEWS[place.view]
            view = kind(scope=place.scope)
            view.id = place.id
            await switcher.add_content(view)
        switcher.current = place.id
        self.query_one("#views", ViewBar).mark("models" if place.view == "versions" else place.view)
        self.prompt.close()
        self.focus_view()
        self.poll()

    def focus_view(self) -> None:
        """The keys go to the shown view."""
        view = self.view
        if isinstance(view, ListView):
            view.take_keys()
        elif view is not None:
            view.focus_first()

    def _words(self) -> list[str]:
        states = {name: kind.STATES for name, kind in VIEWS.items() if issubclass(kind, ListView)}
        return completions(VIEWS, states, self.app.model_names)

    # Keys.

    async def action_go(self, view: str) -> None:
        await self.go(Place(view))

    async def action_last(self) -> None:
        if self._before is not None:
            await self.go(self._before)

    async def action_back(self) -> None:
        view = self.view
        if view is not None and view.clear_narrowing():
            return
        await self._up()

    async def _up(self) -> None:
        if len(self._trail) > 1:
            self._before = self._trail.pop()
            await self._open(self._trail[-1])
        elif self.place.view == "versions":
            await self.go(Place("models"))

    async def action_quit_or_back(self) -> None:
        if len(self._trail) > 1:
            await self._up()
        else:
            self.app.exit()

    def action_filter(self) -> None:
        if self.view is not None:
            self.prompt.open("filter", self.view.question.text)

    def action_command(self) -> None:
        self.prompt.open("command")

    # The prompt.

    def on_prompt_edited(self, event: Prompt.Edited) -> None:
        if isinstance(self.view, ListView):
            self.view.filter(event.text)

    async def on_prompt_entered(self, event: Prompt.Entered) -> None:
        self.prompt.close()
        self.focus_view()
        if event.kind == "filter":
            if self.view is not None:
                self.view.filter(event.text)
        elif event.text.strip():
            await self._run(event.text)

    def on_prompt_dismissed(self, event: Prompt.Dismissed) -> None:
        self.prompt.close()
        self.focus_view()
        if event.kind == "filter" and isinstance(self.view, ListView):
            self.view.filter("")

    async def _run(self, typed: str) -> None:
        try:
            command = parse_command(typed, VIEWS)
        except UsageError as error:
            hint = f"; try {error.hint}" if error.hint else ""
            self.app.notify(f"{error.message}{hint}", severity="warning", markup=False)
            return
        await self._do(command)

    async def _do(self, command: Command) -> None:
        match command.verb:
            case "view":
                await self.go(Place(command.what))
                if command.rest and self.view is not None:
                    self.view.filter(self.view.command_filter(command.rest))
            case "show" if command.what == "model" and "@" not in command.rest:
                self._trail = [Place("models")]
                await self.go(Place("versions", command.rest))
            case "show":
                kind = "version" if command.what == "model" else command.what
                self.app.open_link(Link(kind, command.rest, "asked for"))
            case "theme":
                self.app.choose_theme(command.what)
            case "help":
                self.app.action_keys()
            case "pause":
                self.app.action_pause()
            case "quit":
                self.app.exit()

    async def on_view_bar_chosen(self, event: ViewBar.Chosen) -> None:
        event.stop()
        await self.go(Place(event.view))


class BoxApp(App[None]):
    """mlops-box in a terminal, read-only.

    Args:
        box: Opened with ``read_only=True``; the caller closes it.
        settings: Theme, characters, keys.
        start: The first view.
    """

    TITLE = "mlops-box"
    CSS_PATH = "styles.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (120, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]
    ENABLE_COMMAND_PALETTE = True

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "keys", "help", key_display="?", id="app.help",
                tooltip="The keys that act right now, filter and commands."),
        Binding("p", "pause", "pause", id="app.pause", tooltip="Stop reading the box; again to go on."),
        Binding("r,ctrl+r", "refresh", "refresh", show=False, id="app.refresh", tooltip="Read everything again now."),
        Binding("ctrl+p", "command_palette", "palette", show=False, priority=True, id="app.palette",
                tooltip="Search all commands."),
        Binding("ctrl+q", "quit", "quit", show=False, priority=True, id="app.quit", tooltip="Quit from anywhere."),
    ]  # fmt: skip

    paused: reactive[bool] = reactive(False)

    def __init__(self, box: Box, *, settings: Settings | None = None, start: str = "home"):
        super().__init__()
        self.box = box
        self.settings = settings or Settings()
        self.reader = Reader(box)
        self.start = start
        self.counts: Counts | None = None
        self.model_names: tuple[str, ...] = ()
        self.serving: ServingStatus | None = None
        self.traffic: dict[str, Traffic] = {}
        self.trouble: BoxError | None = None
        self._checked_at_s: float | None = None
        self._counts_seen: Seen | None = None
        self._serving_at_s: float | None = None
        self.set_keymap(self.settings.keys)
        self.theme = THEMES.get(self.settings.theme, self.settings.theme)
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

    @property
    def look(self) -> Look:
        """How things look now."""
        return Look.from_theme(
            self.theme_variables, ascii_only=self.settings.ascii_only, now=self.box.clock.now()
        )

    @property
    def checked_age_s(self) -> float | None:
        """How long ago what is shown was known to be true."""
        return None if self._checked_at_s is None else self.box.clock.monotonic_s() - self._checked_at_s

    def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, lambda _: self.call_after_refresh(self._redraw))
        self.set_interval(TICK_S, self._tick)
        self._read_counts(False)

    def on_unmount(self) -> None:
        self.reader.close()

    def get_key_display(self, binding: Binding) -> str:
        shown = super().get_key_display(binding)
        return shown if shown.isascii() or not self.settings.ascii_only else binding.key

    # Reading.

    def _tick(self) -> None:
        if not self.paused:
            self._read_counts(False)
            self._poll_screen(force=False)
        self._redraw_status()

    def _poll_screen(self, *, force: bool) -> None:
        screen = self.screen
        if isinstance(screen, MainScreen | DetailScreen | LogScreen):
            screen.poll(force=force)

    @work(exclusive=True, group="poll-counts")
    async def _read_counts(self, force: bool) -> None:
        try:
            fetched = await self.reader.ask("counts", None if force else self._counts_seen, _counts_and_names)
        except BoxError as error:
            self._counts_seen = None
            self.report_read(error)
            return
        if fetched is not None:
            (self.counts, self.model_names), self._counts_seen = fetched.value, fetched.seen
            self._redraw_status()
        if self.serving is None or self._serving_age_s > 5 * SERVING_EVERY_S:
            self.poll_serving()

    def report_read(self, error: BoxError | None) -> None:
        """A view read the box, or could not."""
        if error is None:
            self._checked_at_s = self.box.clock.monotonic_s()
        elif self.trouble is None:
            hint = f"; try: {error.hint}" if error.hint else ""
            self.notify(f"{error.message}{hint}", severity="error", markup=False, timeout=10)
        self.trouble = error
        self._redraw_status()

    @property
    def _serving_age_s(self) -> float:
        now_s = self.box.clock.monotonic_s()
        return float("inf") if self._serving_at_s is None else now_s - self._serving_at_s

    def poll_serving(self) -> None:
        """Ask the server how it is, but not more often than is useful."""
        if self._serving_age_s >= SERVING_EVERY_S:
            self._serving_at_s = self.box.clock.monotonic_s()
            self._ask_server()

    @work(thread=True, exclusive=True, group="poll-serving")
    def _ask_server(self) -> None:
        status = read_serving(self.box.home)
        self.call_from_thread(self._heard, status)

    def _heard(self, status: ServingStatus) -> None:
        self.serving = status
        now_s = self.box.clock.monotonic_s()
        self.traffic = {
            row.key: self.traffic[row.key].next(now_s, row.requests)
            if row.key in self.traffic
            else Traffic(now_s, row.requests)
            for row in status.models
            if row.requests is not None
        }
        view = self.main.view
        if view is not None and hasattr(view, "serving_changed"):
            self.report_read(None)
            view.serving_changed()
        self._redraw_status()

    # Drawing.

    def _redraw_status(self) -> None:
        for bar in self.screen.query(StatusBar):
            bar.redraw()

    def _redraw(self) -> None:
        self._redraw_status()
        for screen in self.screen_stack:
            if isinstance(screen, MainScreen | DetailScreen | LogScreen):
                screen.redraw()

    def watch_paused(self) -> None:
        if self._running:
            self._redraw_status()

    # Going.

    def go(self, view: str, *, scope: str | None = None) -> None:
        """Open a list view."""
        self.run_worker(self.main.go(Place(view, scope)), exclusive=True, group="go")

    def open_link(self, link: Link) -> None:
        """Show one thing whole."""
        self.push_screen(DETAILS[link.kind](link.id))

    def choose_theme(self, name: str) -> None:
        """Change the colours."""
        wanted = THEMES.get(name, name)
        if wanted in self.available_themes:
            self.theme = wanted
        else:
            self.notify(f"no theme {name}; try light or dark", severity="warning", markup=False)

    # Keys.

    def action_pause(self) -> None:
        self.paused = not self.paused

    def action_refresh(self) -> None:
        self._read_counts(True)
        self._poll_screen(force=True)

    def action_keys(self) -> None:
        screen = self.screen
        if not isinstance(screen, HelpScreen):
            name = (
                self.main.place.view
                if isinstance(screen, MainScreen)
                else type(screen).__name__.removesuffix("Screen").lower()
            )
            self.push_screen(HelpScreen(screen, name))

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    async def on_event(self, event: Event) -> None:
        # A key pressed while the app leaves has no screen to go to any more.
        if not (self._exit and isinstance(event, InputEvent)):
            await super().on_event(event)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the palette offers: everything here looks, nothing writes a file."""
        for name in VIEWS:
            yield SystemCommand(name, f"Go to {name}", lambda name=name: self._palette_go(name))
        yield SystemCommand("help", "The keys that act right now", self.action_keys)
        yield SystemCommand("pause", "Stop or go on reading the box", self.action_pause)
        yield SystemCommand("refresh", "Read everything again now", self.action_refresh)
        for theme in THEMES:
            yield SystemCommand(
                f"theme {theme}", "Change the colours", lambda theme=theme: self.choose_theme(theme)
            )
        yield SystemCommand(
            "logs", "Follow the box's log files", lambda: self._push(LogScreen(self.box.home.logs))
        )
        yield SystemCommand("quit", "Leave", self.exit)

    def _push(self, screen: Screen[None]) -> None:
        self.push_screen(screen)

    def _palette_go(self, name: str) -> None:
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.go(name)


def _counts_and_names(box: Box) -> tuple[Counts, tuple[str, ...]]:
    rows = box.db.read("SELECT DISTINCT model FROM versions ORDER BY model LIMIT 1000")
    return read_counts(box), tuple(row["model"] for row in rows)
