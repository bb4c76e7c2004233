"""The newest requests of a version: a live tail with a filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from mlops_box.errors import UsageError
from mlops_box_tui.look import UNKNOWN, Look, number
from mlops_box_tui.widgets.prompt import Prompt
from mlops_box_tui.widgets.table import Column, Line, ResourceTable

if TYPE_CHECKING:
    from mlops_box.box import Box
    from mlops_box.serving.answered import AnsweredRequest
    from mlops_box_tui.app import BoxApp


class RequestPane(Vertical):
    """Newest first. While it follows, the newest comes on top and the cursor stays there; held, nothing moves."""

    app: BoxApp

    def __init__(self, *, id: str):
        super().__init__(id=id)
        self.following = True
        self._newest: tuple[AnsweredRequest, ...] = ()
        self._held: tuple[AnsweredRequest, ...] = ()
        self._shown: tuple[AnsweredRequest, ...] = ()
        self._typed = ""
        self._problem: str | None = None

    def compose(self) -> ComposeResult:
        yield Static(markup=False, classes="title")
        yield ResourceTable((
            Column("at", "at", 12), Column("id", "prediction id", 31, drop=4), Column("version", "version", 8, drop=5),
            Column("variant", "as", 8), Column("rows", "rows", 5, drop=2, right=True),
            Column("answer", "answer", 10, flex=True), Column("latency", "latency", 9, right=True),
            Column("outcome", "outcome", 11, drop=1), Column("truth", "truth", 10),
        ))  # fmt: skip
        yield Prompt(lambda: (), id="requests-prompt")

    @property
    def table(self) -> ResourceTable:
        return self.query_one(ResourceTable)

    @property
    def row(self) -> AnsweredRequest | None:
        """The request under the cursor."""
        key = self.table.cursor_key
        return next((request for request in self._shown if request.id == key), None)

    def show(self, requests: tuple[AnsweredRequest, ...]) -> None:
        """Take what was read."""
        self._newest = requests
        if self.following:
            self._held = requests
        self._draw()

    def follow(self) -> None:
        """Hold the list, or let it go on."""
        self.following = not self.following
        self.show(self._newest)

    def open_filter(self) -> None:
        self.query_one(Prompt).open("filter", self._typed)

    def clear_filter(self) -> bool:
        """``False`` when there was none."""
        had, self._typed = bool(self._typed), ""
        if had:
            self._draw()
        return had

    @work(exclusive=True, group="draw-requests")
    async def _draw(self) -> None:
        held, typed = self._held, self._typed
        self._problem = None
        try:
            fetched = await self.app.reader.ask(
                ("filter", typed), None, lambda box: _matching(box, held, typed)
            )
            shown = fetched.value if fetched is not None else held
        except UsageError as error:
            # What was typed cannot be asked; all rows stay, with the reason above them.
            self._problem, shown = error.message, held
        look, table = self.app.look, self.table
        at_top = table.cursor_row == 0
        self._shown = shown
        # It was hidden when it was made, and may have had no room to choose its columns by.
        table.fit()
        table.show([Line(request.id, _cells(request, look)) for request in shown])
        if self.following and at_top:
            table.move_cursor(row=0, animate=False)
        self.query_one(".title", Static).update(self._title(shown, look))

    def _title(self, shown: Sequence[AnsweredRequest], look: Look) -> Text:
        known = {request.id for request in self._held}
        newer = sum(request.id not in known for request in self._newest)
        line = Text(" ")
        if not self._newest:
            return line.append("no answered request in the prediction log; I asks one", style="dim")
        line.append(f"{len(shown)} of the newest {len(self._held)}", style="bold")
        line.append("  following" if self.following else f"  held, {newer} newer: f goes on", style="dim")
        if self._typed:
            line.append_text(Text.assemble(("  filter ", "dim"), look.text(self._typed, "accent")))
        if self._problem is not None:
            line.append_text(Text.assemble("  ", look.text(self._problem, "bad")))
        else:
            line.append("  refused and failed requests leave no record here", style="dim")
        return line

    # The line behind /.

    def on_prompt_edited(self, event: Prompt.Edited) -> None:
        event.stop()
        self._typed = event.text
        self._draw()

    def on_prompt_entered(self, event: Prompt.Entered) -> None:
        self.query_one(Prompt).close()
        self._typed = event.text.strip()
        self._draw()

    def on_prompt_dismissed(self, event: Prompt.Dismissed) -> None:
        self.query_one(Prompt).close()
        self._typed = ""
        self._draw()


def _matching(box: Box, requests: Sequence[AnsweredRequest], typed: str) -> tuple[AnsweredRequest, ...]:
    from mlops_box.operations.views.requests import matching

    return matching(box, requests, typed)


def _cells(request: AnsweredRequest, look: Look) -> tuple[Text, ...]:
    first = request.first[0]
    known = sum(row.truth is not None for row in request.first)
    latency = request.latency_ms
    return (
        Text(f"{request.at:%H:%M:%S.%f}"[:-3] if request.at.date() == look.now.date() else f"{request.at:%m-%d %H:%M}"),
        look.text(request.id, "accent"), look.text(f"v{request.number}"), look.text(request.variant),
        look.count(request.rows), answer(first.answer, look),
        Text(UNKNOWN, style="dim") if latency is None else look.text(f"{number(latency, digits=3)}ms"),
        look.state("fine", "ok") if request.outcome == "ok" else look.state("trouble", request.outcome.replace("_", " ")),
        look.text(first.truth if request.rows == 1 else f"{known} of {request.rows}" if known else None),
    )  # fmt: skip


def answer(value: str | float | None, look: Look) -> Text:
    """A class, or a number; what is no number is unknown."""
    return look.text(value) if isinstance(value, str) else look.number(value)
