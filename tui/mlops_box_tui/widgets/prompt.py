"""The line behind ``:`` and ``/``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input, Static

Kind = Literal["command", "filter"]


class Completer(Suggester):
    """Completes from words that may change while one types."""

    def __init__(self, words: Callable[[], Iterable[str]]):
        super().__init__(use_cache=False, case_sensitive=False)
        self._words = words

    async def get_suggestion(self, value: str) -> str | None:
        """The first word that begins with what was typed."""
        if not value.strip():
            return None
        typed = value.casefold()
        return next(
            (word for word in self._words() if word.casefold().startswith(typed) and word != value), None
        )


class PromptInput(Input):
    """The editable part."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", id="prompt.leave", tooltip="Leave the line; a filter is cleared."),
        Binding("tab", "complete", "complete", id="prompt.complete", tooltip="Take the suggestion."),
    ]

    class Left(Message):
        """Escape was pressed."""

    def action_leave(self) -> None:
        self.post_message(self.Left())

    def action_complete(self) -> None:
        self.action_end()
        self.action_cursor_right()


class Prompt(Horizontal):
    """One line at the bottom, shown while in use."""

    class Entered(Message):
        """Enter was pressed: ``text`` is to be done."""

        def __init__(self, kind: Kind, text: str):
            super().__init__()
            self.kind = kind
            self.text = text

    class Edited(Message):
        """The filter changed while being typed."""

        def __init__(self, text: str):
            super().__init__()
            self.text = text

    class Dismissed(Message):
        """Escape was pressed."""

        def __init__(self, kind: Kind):
            super().__init__()
            self.kind = kind

    def __init__(self, words: Callable[[], Iterable[str]], *, id: str | None = None):
        super().__init__(id=id)
        self._kind: Kind = "filter"
        self._completer = Completer(words)

    def compose(self) -> ComposeResult:
        # The sign is a label of its own: inside the input, typing over a selection would replace it.
        yield Static("/", id="prompt-sign", markup=False)
        yield PromptInput(id="prompt-input", select_on_focus=False, compact=True)

    @property
    def input(self) -> PromptInput:
        return self.query_one(PromptInput)

    def open(self, kind: Kind, text: str = "") -> None:
        """Show the line and take the keys."""
        self._kind = kind
        self.query_one("#prompt-sign", Static).update(":" if kind == "command" else "/")
        self.input.suggester = self._completer if kind == "command" else None
        with self.prevent(Input.Changed):
            self.input.value = text
        self.input.cursor_position = len(text)
        self.display = True
        # At once, not by a message: what was typed right behind the sign belongs here.
        self.screen.set_focus(self.input)

    def close(self) -> None:
        """Hide the line."""
        self.display = False

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._kind == "filter" and self.display:
            self.post_message(self.Edited(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Entered(self._kind, event.value))

    def on_prompt_input_left(self, event: PromptInput.Left) -> None:
        event.stop()
        self.post_message(self.Dismissed(self._kind))
