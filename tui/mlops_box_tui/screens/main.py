"""The screen of list views: one at a time, the prompt below, the way back remembered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Footer

from mlops_box.errors import UsageError
from mlops_box_tui.commands import Command, completions, parse_command
from mlops_box_tui.registry import INNER_VIEWS, VIEWS
from mlops_box_tui.views.base import ListView
from mlops_box_tui.widgets.bars import StatusBar, ViewBar
from mlops_box_tui.widgets.prompt import Prompt, PromptInput

if TYPE_CHECKING:
    from mlops_box_tui.app import BoxApp
    from mlops_box_tui.registry import View


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
        Binding("slash", "filter", "filter", key_display="/", id="main.filter", priority=True,
                tooltip="Filter this view: text, !text, ~text, state:failed."),
        Binding("colon", "command", "command", key_display=":", id="main.command", priority=True,
                tooltip="Go to a view or a thing: :runs failed, :model NAME, :q. Tab completes."),
        Binding("minus", "last", "last view", show=False, key_display="-", id="main.last",
                tooltip="The view before, and back again."),
        Binding("q", "quit_or_back", "quit", id="main.quit",
                tooltip="Back; at the top, quit."),
        *(
            Binding(str(digit % 10), f"go('{name}')", name, show=False, id=f"go.{name}", tooltip=f"Go to {name}.")
            for digit, name in enumerate(VIEWS, start=1)
        ),
    ]  # fmt: skip

    def __init__(self, start: str):
        super().__init__()
        self._trail: list[Place] = [Place(start)]
        self._before: Place | None = None

    def compose(self) -> ComposeResult:
        yield StatusBar(id="status", markup=False)
        yield ViewBar([(str(digit % 10), name) for digit, name in enumerate(VIEWS, start=1)], id="views")
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
        """The view that is shown; none while the screen is made or taken down."""
        switchers = self.query(ContentSwitcher)
        current = switchers.first().visible_content if switchers else None
        # Nothing but views is put there.
        return cast("View | None", current)

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

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The keys of the line at the bottom come first, so that what is typed right behind them belongs to it; inside
        the line they are letters."""
        if action in ("filter", "command") and isinstance(self.focused, PromptInput):
            return False
        return super().check_action(action, parameters)

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
                self.app.show_thing(kind, command.rest)
            case "theme":
                self.app.choose_theme(command.what)
            case "help":
                self.app.action_keys()
            case "sql":
                self.app.open_sql(command.what or None)
            case "host":
                self.app.open_host()
            case "history":
                self.app.open_history()
            case "logs":
                self.app.open_logs()
            case "pause":
                self.app.action_pause()
            case "quit":
                self.app.exit()

    async def on_view_bar_chosen(self, event: ViewBar.Chosen) -> None:
        event.stop()
        await self.go(Place(event.view))
