"""The command palette."""

from __future__ import annotations

import contextlib

from textual.command import CommandPalette


class Palette(CommandPalette):
    """Textual's own, which falls over when one pages through a list that is not laid out yet (8.2.8)."""

    def _action_command_list(self, action: str) -> None:
        # The list looks up its highlighted line before it has lines; there is nowhere to go then.
        with contextlib.suppress(KeyError):
            super()._action_command_list(action)
