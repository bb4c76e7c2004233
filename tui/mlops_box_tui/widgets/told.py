"""Lines of text that are drawn again only where they changed."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.text import Text
from textual.widgets import Static


class Told(Static):
    """A Static for what is told again every second and is mostly the same: to lay out a screen anew is dear."""

    _told: tuple[Any, ...] | None = None

    def tell(self, *lines: Text, layout: bool = True) -> None:
        """Show these lines.

        Args:
            layout: Its size may change with them.
        """
        told = tuple((line.plain, str(line.style), tuple(line.spans)) for line in lines)
        if told != self._told:
            self._told = told
            self.update(Group(*lines), layout=layout)
