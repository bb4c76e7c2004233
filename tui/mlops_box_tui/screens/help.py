"""The keys that act right now, and how the filter is written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from mlops_box_tui.commands import command_help

if TYPE_CHECKING:
    from mlops_box_tui.app import BoxApp

FILTER_HELP = (
    ("text", "some column contains it"),
    ("!text", "no column contains it"),
    ("~text", "its letters stand in some column, in order"),
    ("state:failed", "the field begins with the value"),
    ("!state:failed", "it does not"),
    ('"two words"', "one term"),
)


class HelpScreen(ModalScreen[None]):
    """Opened by ``?``; reads the keys off the screen below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "back", "back", key_display="esc", id="help.back", tooltip="Back."),
        Binding("j,down", "scroll(1)", "down", show=False, id="help.down", tooltip="One line down."),
        Binding("k,up", "scroll(-1)", "up", show=False, id="help.up", tooltip="One line up."),
    ]

    app: BoxApp

    def __init__(self, below: Screen[object], name: str, *, views: Iterable[str]):
        super().__init__()
        self._views = tuple(views)
        self._below = below
        self._title_of = name
        self._keys = active_keys(below)

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help") as box:
            box.border_title = "keys"
            yield Static(id="help-body", markup=False)

    def on_mount(self) -> None:
        look = self.app.look
        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for keys, tooltip in self._keys:
            grid.add_row(Text(look.fit(keys), style=look.style("accent")), Text(look.fit(tooltip)))
        parts: list[RenderableType] = [
            Text.assemble((self._title_of, "bold"), "   lower case looks, UPPER CASE acts"), Text(), grid,
            Text("\nfilter", style="bold"), _two(FILTER_HELP, look.style("accent")),
            Text("\ncommands", style="bold"), _two(command_help(self._views), look.style("accent")),
            Text(), Text.assemble(("home  ", "dim"), look.text(self.app.box.home.root)),
        ]  # fmt: skip
        self.query_one("#help-body", Static).update(Group(*parts))

    def action_scroll(self, lines: int) -> None:
        self.query_one("#help", VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_back(self) -> None:
        self.dismiss()


def active_keys(screen: Screen[object]) -> list[tuple[str, str]]:
    """(keys, what they do) of all bindings of ours that work on a screen now."""
    found: dict[str, tuple[list[str], str]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if binding.id is None or not active.enabled:
            continue
        keys, _ = found.setdefault(binding.id, ([], binding.tooltip))
        keys.append(screen.app.get_key_display(binding))
    return [(" ".join(dict.fromkeys(keys)), tooltip) for keys, tooltip in found.values()]


def _two(pairs: tuple[tuple[str, str], ...], style: str) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for left, right in pairs:
        grid.add_row(Text(left, style=style), Text(right))
    return grid
