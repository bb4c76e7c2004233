"""A screen over the list views that is no detail: status, a heading, keys, the way back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer, Static

from mlops_box_tui.widgets.bars import StatusBar

if TYPE_CHECKING:
    from mlops_box_tui.app import BoxApp


class PlainScreen(Screen[None]):
    """Subclasses say what stands in the middle, and read and draw it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "back", "back", key_display="esc", id="screen.back", tooltip="Back."),
    ]

    app: BoxApp

    def middle(self) -> Iterable[Widget]:
        """What stands between the heading and the keys."""
        raise NotImplementedError

    def poll(self, *, force: bool = False) -> None:
        """Read again; called every second while this screen is on top."""

    def redraw(self) -> None:
        """Draw what is at hand (another theme)."""

    def compose(self) -> ComposeResult:
        yield StatusBar(id="status", markup=False)
        yield Static(id="heading", markup=False)
        yield from self.middle()
        yield Footer(show_command_palette=False, compact=True)

    def head(self, text: Text) -> None:
        """The line at the top."""
        self.query_one("#heading", Static).update(text)

    def action_back(self) -> None:
        self.dismiss()
