"""What came back for a row that was asked by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual import work
from textual.binding import Binding, BindingType
from textual.widget import Widget

from mlops_box.errors import BoxError
from mlops_box_tui.look import Look, number
from mlops_box_tui.screens.detail import Body, Tab
from mlops_box_tui.screens.plain import PlainScreen
from mlops_box_tui.widgets.grids import facts, heading, rows

if TYPE_CHECKING:
    from mlops_box.operations.try_request import Tried


@dataclass(frozen=True)
class Asked:
    """What was asked, and the lines that ask it again.

    Attributes:
        curl: ``None`` where no server has an address.
    """

    ref: str
    row: str
    command: str
    curl: str | None


class AnswerScreen(PlainScreen):
    """One answer, or why there is none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "copy id", id="answer.copy", tooltip="Copy the prediction id, which ground truth names."),
    ]  # fmt: skip

    def __init__(self, asked: Asked, outcome: Tried | BoxError):
        super().__init__()
        self.asked = asked
        self.outcome = outcome

    def middle(self) -> Iterable[Widget]:
        yield Tab(id="tried")

    def on_mount(self) -> None:
        self.query_one(Tab).focus()
        self.redraw()

    def redraw(self) -> None:
        look, outcome = self.app.look, self.outcome
        state = (
            look.state("failed", "no answer")
            if isinstance(outcome, BoxError)
            else look.state("done", "answered")
        )
        self.head(Text.assemble(" ", look.text(self.asked.ref, "accent"), "  ", state))
        self._show(Body(self._parts(look)))

    @work(exclusive=True, group="draw-answer")
    async def _show(self, body: Body) -> None:
        await self.query_one(Tab).show(body)

    def _parts(self, look: Look) -> list[RenderableType]:
        outcome, asked = self.outcome, self.asked
        parts = _wrong(outcome, look) if isinstance(outcome, BoxError) else _answer(outcome, look)
        parts += [heading("asked"), _folded(asked.row, look)]
        lines = [asked.command, *([asked.curl] if asked.curl else [])]
        return [*parts, heading("the same again"), *(_folded(f"$ {line}", look) for line in lines)]

    def action_copy(self) -> None:
        if not isinstance(self.outcome, BoxError):
            self.app.copy_to_clipboard(self.outcome.prediction_id)
            self.app.notify(f"copied {self.outcome.prediction_id}", markup=False, timeout=2)


def _answer(tried: Tried, look: Look) -> list[RenderableType]:
    parts: list[RenderableType] = [
        facts(
            [
                ("prediction", tried.prediction), ("answered by", tried.model),
                ("asked", tried.by or "this program: no server answers"), ("took", f"{number(tried.took_ms, digits=3)} ms"),
                ("prediction id", tried.prediction_id), ("request id", tried.request_id),
            ],
            look,
        )
    ]  # fmt: skip
    if tried.probabilities:
        parts += [
            heading("probabilities"),
            rows(("class", ">probability"), tried.probabilities, look, empty=""),
        ]
    return parts


def _wrong(error: BoxError, look: Look) -> list[RenderableType]:
    parts: list[RenderableType] = [_folded(error.message, look, bad=True)]
    if error.hint:
        parts.append(Text.assemble(("try: ", "dim"), _folded(error.hint, look)))
    parts.append(facts([("error", error.code)], look))
    problems = error.details.get("problems")
    if isinstance(problems, list):
        lines = [(one.get("row"), one.get("column"), one.get("rule"), one.get("message")) for one in problems]
        parts += [
            heading("what the contract says"),
            rows((">row", "column", "rule", "says"), lines, look, empty=""),
        ]
    return parts


def _folded(text: str, look: Look, *, bad: bool = False) -> Text:
    line = look.text(text, "bad" if bad else "plain")
    line.no_wrap, line.overflow = False, "fold"
    return line
