"""The question before an act: what it would do, the command that does the same, and as much asking as it is dangerous."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import Group, RenderableType
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from mlops_box.box import Box
from mlops_box.errors import BoxError, UsageError
from mlops_box_tui.acts.act import Act, Field, Form, Plan, command_line
from mlops_box_tui.acts.group import Group as ActGroup
from mlops_box_tui.acts.group import GroupPlan, plan_group
from mlops_box_tui.acts.journal import JournalEntry

if TYPE_CHECKING:
    from mlops_box_tui.app import BoxApp

NAME_FIELD = "name"


class Question(Static, can_focus=True):
    """The last line: which key does it."""


class ActScreen(ModalScreen[dict[str, str] | None]):
    """Answers with the filled form, or with ``None``: nothing is to be done."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "no", "no", id="act.leave", tooltip="Do nothing."),
        Binding("n", "no", "no", show=False, id="act.no", tooltip="Do nothing."),
        Binding("y", "yes", "yes", id="act.yes", tooltip="Do what is asked."),
        Binding("enter", "enter", "do it", show=False, id="act.enter", tooltip="Do it, where it is harmless."),
        Binding("down", "app.focus_next", "next", show=False, id="act.next", tooltip="The next field."),
        Binding("up", "app.focus_previous", "before", show=False, id="act.before", tooltip="The field before."),
        Binding("c", "copy", "copy", show=False, id="act.copy", tooltip="Copy the commands that do the same."),
        Binding("pagedown", "scroll(1)", "page down", show=False, id="act.page_down",
                tooltip="The next part of a long question."),
        Binding("pageup", "scroll(-1)", "page up", show=False, id="act.page_up",
                tooltip="The part before of a long question."),
    ]  # fmt: skip

    app: BoxApp

    def __init__(self, act: Act[Any], row: Any, given: Form, *, undoes: JournalEntry | None = None):
        super().__init__()
        self._act = act
        self._row = row
        self._given = given
        self._undoes = undoes
        self._plan: Plan | None = None
        self._asked: tuple[Field, ...] = ()

    @property
    def asks(self) -> str:
        """What is asked, in few words."""
        return f"undo: {self._act.label}" if self._undoes else self._act.label

    def read(self, box: Box) -> Plan:
        """What would happen; runs in the reader's thread."""
        plan: Plan = self._act.plan(box, self._row)
        return plan

    def commands(self) -> list[str]:
        """Lines that do the same, with the form as it stands."""
        home, form = self.app.box.home, self.form
        also = self._act.also(home, self._row, form)
        return [command_line(home, self._act.cli(self._row, form)), *([also] if also else [])]

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="act", can_focus=False) as pane:
            pane.border_title = Text(self.app.look.fit(self.asks))
            yield Static(Text("reading", style="dim"), id="act-effect", markup=False)
            yield Static(id="act-command", markup=False)
            yield Static(id="act-problem", markup=False)
            yield Question(id="act-question", markup=False)

    def on_mount(self) -> None:
        self.query_one("#act-problem").display = False
        self.query_one(Question).focus()
        self._read()

    @work(exclusive=True, group="poll-act")
    async def _read(self) -> None:
        try:
            fetched = await self.app.reader.ask(("act", self._act.id), None, self.read)
        except BoxError as error:
            self._cannot(error)
            return
        assert fetched is not None
        await self._show(fetched.value)

    def _cannot(self, error: BoxError) -> None:
        look = self.app.look
        parts: list[RenderableType] = [look.text(error.message, "bad")]
        if error.hint:
            parts.append(Text.assemble(("try: ", "dim"), look.text(error.hint)))
        for part in parts:
            assert isinstance(part, Text)
            part.no_wrap, part.overflow = False, "fold"
        self.query_one("#act-effect", Static).update(Group(*parts))
        self.query_one(Question).update(Text("esc back", style="dim"))

    async def _show(self, plan: Plan) -> None:
        look = self.app.look
        lines = [look.text(line) for line in plan.effect]
        for line in lines:
            line.no_wrap, line.overflow = False, "fold"
        self.query_one("#act-effect", Static).update(Group(*lines))
        self._asked = tuple(field for field in plan.fields if not field.fixed)
        if self._act.danger == "name":
            self._asked = (*self._asked, Field(NAME_FIELD, f"type {plan.name} to do it"))
        for field in self._asked:
            label = field.label + (" (optional)" if field.optional else "")
            value = self._given.get(field.name, field.default)
            row = Horizontal(
                Static(Text(look.fit(label)), classes="act-label", markup=False),
                Input(value, id=f"field-{field.name}", compact=True, select_on_focus=False),
                classes="act-field",
            )
            await self.query_one("#act").mount(row, before="#act-command")
        # Only now can it be answered: before, a key would have met a form without its fields.
        self._plan = plan
        self._draw_command()
        self.query_one(Question).update(Text(self._question(), style="bold"))
        self._focus_next()

    def _question(self) -> str:
        match self._act.danger:
            case "none":
                return "enter do it   esc no"
            case "confirm":
                return "y yes   n no"
        return "enter in the last field does it   esc no"

    @property
    def form(self) -> dict[str, str]:
        """The fields as they stand, those that were looked up included."""
        plan = self._plan
        assert plan is not None
        fixed = {field.name: field.default for field in plan.fields if field.fixed}
        return fixed | {
            field.name: self._input(field).value.strip() for field in self._asked if field.name != NAME_FIELD
        }

    def _input(self, field: Field) -> Input:
        return self.query_one(f"#field-{field.name}", Input)

    def _draw_command(self) -> None:
        look, lines = self.app.look, []
        for command in self.commands():
            line = look.text(command, "accent")
            line.no_wrap, line.overflow = False, "fold"
            lines.append(Text.assemble(("$ ", "dim"), line))
        self.query_one("#act-command", Static).update(Group(*lines))

    def _focus_next(self) -> None:
        """The first field that has to be filled in, or the question."""
        empty = self._missing()
        # At once, not by a message: what is typed next belongs there.
        self.set_focus(self._input(empty) if empty else self.query_one(Question))

    def _missing(self) -> Field | None:
        return next(
            (field for field in self._asked if not field.optional and not self._input(field).value.strip()),
            None,
        )

    def _problem(self) -> str | None:
        missing = self._missing()
        if missing is not None:
            return f"{missing.label}: this has to be filled in"
        if self._act.danger == "name" and self._plan is not None:
            typed = self.query_one(f"#field-{NAME_FIELD}", Input).value.strip()
            if typed != self._plan.name:
                return f"type {self._plan.name}, exactly"
        return None

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._plan is not None and len(self.query(Input)) == len(self._asked):
            self._draw_command()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        last = self._asked and event.input.id == f"field-{self._asked[-1].name}"
        if last and self._act.danger != "confirm":
            self._finish()
        elif last or self._missing() is None:
            self.set_focus(self.query_one(Question))
        else:
            self._focus_next()

    def action_enter(self) -> None:
        if self._act.danger == "none":
            self._finish()

    def action_yes(self) -> None:
        if self._act.danger != "name":
            self._finish()

    def action_copy(self) -> None:
        if self._plan is None:
            return
        commands = self.commands()
        self.app.copy_to_clipboard("\n".join(commands))
        said = commands[0] if len(commands) == 1 else f"{len(commands)} commands"
        self.app.notify(f"copied {said}", markup=False, timeout=2)

    def action_scroll(self, way: int) -> None:
        pane = self.query_one("#act", VerticalScroll)
        (pane.scroll_page_down if way > 0 else pane.scroll_page_up)(animate=False)

    def action_no(self) -> None:
        self.dismiss(None)

    def _finish(self) -> None:
        if self._plan is None:
            return
        problem = self._problem()
        if problem is None:
            self.dismiss(self.form)
            return
        pane = self.query_one("#act-problem", Static)
        pane.display = True
        pane.update(self.app.look.text(problem, "bad"))
        wrong = self._missing() or self._asked[-1]
        self.set_focus(self._input(wrong))


class GroupScreen(ActScreen):
    """The one question before an act on many rows; ``group_plan`` is what was answered to."""

    def __init__(self, group: ActGroup, *, undo: bool = False):
        super().__init__(group.act, None, {})
        self._group = group
        self._undo = undo
        self.group_plan: GroupPlan | None = None

    @property
    def asks(self) -> str:
        return f"undo: {self._group.title}" if self._undo else self._group.title

    def read(self, box: Box) -> Plan:
        found = plan_group(box, self._group)
        if not found.planned:
            raise UsageError("\n".join(found.lines))
        self.group_plan = found
        given = found.planned[0].target.given
        asked = tuple(replace(one, default=given.get(one.name, one.default)) for one in found.asked)
        return Plan(found.lines, asked, found.word)

    def commands(self) -> list[str]:
        assert self.group_plan is not None
        return self.group_plan.commands(self.app.box.home, self.form)
