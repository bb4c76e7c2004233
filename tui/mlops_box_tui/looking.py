"""What looks at the box again and again: reads what is new, tells the status line when it cannot."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, TypeVar

from textual.widget import Widget

from mlops_box.box import Box
from mlops_box.errors import BoxError
from mlops_box_tui.reader import Seen

if TYPE_CHECKING:
    from mlops_box_tui.app import BoxApp

T = TypeVar("T")


class Looking(Widget):
    """Mixed into views and screens that always ask the same."""

    app: BoxApp
    _seen: Seen | None = None

    async def look(self, question: Hashable, read: Callable[[Box], T], *, force: bool) -> T | None:
        """The answer; ``None`` where nothing changed since the last one, or the box cannot be read.

        Args:
            force: Read, whatever changed.
        """
        try:
            fetched = await self.app.reader.ask(question, None if force else self._seen, read)
        except BoxError as error:
            # What could not be read is read again, even when nothing changed meanwhile.
            self._seen = None
            self.app.report_read(error)
            return None
        self.app.report_read(None)
        if fetched is None:
            return None
        self._seen = fetched.seen
        return fetched.value
