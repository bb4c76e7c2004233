"""The command palette."""

from __future__ import annotations

import contextlib

from textual import on
from textual.command import CommandPalette
from textual.widgets import Button, Input


class Palette(CommandPalette):
    """Textual's own, which falls over when one pages through a list that is not laid out yet, and when Enter comes twice
    before it is gone (8.2.8)."""

    def _action_command_list(self, action: str) -> None:
        # The list looks up its highlighted line before it has lines; there is nowhere to go then.
        with contextlib.suppress(KeyError):
            super()._action_command_list(action)

    @on(Input.Submitted)
    @on(Button.Pressed)
    def _select_or_command(self, event: Input.Submitted | Button.Pressed | None = None) -> None:
        # A second Enter would take away the screen below.
        if self.is_current:
            super()._select_or_command(event)
        elif event is not None:
            event.stop()
