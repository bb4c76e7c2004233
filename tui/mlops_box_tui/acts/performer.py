"""Asks before an act, runs it beside the screen, notes what it did, takes it back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from mlops_box.box import Box
from mlops_box.errors import BoxError, StorageError, UsageError
from mlops_box_tui.acts.act import Act, Done, Form, command_line
from mlops_box_tui.acts.acting import READ_ONLY
from mlops_box_tui.acts.commands import Started, start_command
from mlops_box_tui.acts.confirm import ActScreen, GroupScreen
from mlops_box_tui.acts.group import Group, GroupPlan, Target, outcome
from mlops_box_tui.acts.journal import Journal, JournalEntry

if TYPE_CHECKING:
    from mlops_box_tui.app import BoxApp


class Performer:
    """One for the app."""

    def __init__(self, app: BoxApp):
        self._app = app
        self.journal = Journal()
        self._started: dict[int, Started] = {}

    def ask(self, act: Act[Any], row: Any) -> None:
        """Show what an act would do; a yes does it."""
        self._ask(act, row, {}, None)

    def ask_all(self, group: Group, *, undo: bool = False) -> None:
        """Show what an act would do to many rows; one yes does it to all that it can be done to."""
        if not isinstance(self._app.screen, ActScreen):
            screen = GroupScreen(group, undo=undo)
            self._app.push_screen(screen, partial(self._answered_all, screen))

    def undo(self) -> None:
        """Ask whether the newest act that can be taken back shall be."""
        app = self._app
        if app.settings.read_only:
            app.notify(f"undo: {READ_ONLY}", severity="warning", markup=False, timeout=4)
            return
        entries = self.journal.undoable(app.box.clock.now())
        undos = [entry.undo for entry in entries if entry.undo is not None]
        if not undos:
            app.notify("nothing of the last 30 minutes can be undone", markup=False, timeout=4)
        elif len(undos) == 1:
            self._ask(undos[0].act, undos[0].row, undos[0].form, entries[0])
        else:
            targets = tuple(
                Target(entry.name, undo.row, undo.form, entry)
                for entry, undo in zip(entries, undos, strict=True)
            )
            self.ask_all(Group(undos[0].act, targets, "acts"), undo=True)

    def look_after_commands(self) -> None:
        """Tell how commands that were started have ended."""
        for number, started in list(self._started.items()):
            if not started.is_over:
                continue
            del self._started[number]
            code = started.process.returncode
            said = started.said() or "done"
            outcome = said if code == 0 else f"exit code {code}: {said}"
            self.journal.note(number, outcome)
            self._app.notify(
                f"{' '.join(started.arguments[:2])}: {outcome}", markup=False, timeout=10,
                severity="information" if code == 0 else "error",
            )  # fmt: skip
            self._app.look_again()

    def _ask(self, act: Act[Any], row: Any, given: Form, undoes: JournalEntry | None) -> None:
        if isinstance(self._app.screen, ActScreen):
            return
        screen = ActScreen(act, row, given, undoes=undoes)
        self._app.push_screen(screen, partial(self._answered, act, row, undoes))

    def _answered(self, act: Act[Any], row: Any, undoes: JournalEntry | None, form: Form | None) -> None:
        if form is not None:
            self._app.run_worker(
                partial(self._do, act, row, form, undoes), group="act", thread=True, exclusive=False
            )

    def _answered_all(self, screen: GroupScreen, answers: Form | None) -> None:
        plan = screen.group_plan
        if answers is not None and plan is not None:
            self._app.run_worker(
                partial(self._do_all, plan, answers), group="act", thread=True, exclusive=False
            )

    # In a thread of its own: the screen never waits for the box.

    def _do(self, act: Act[Any], row: Any, form: Form, undoes: JournalEntry | None) -> None:
        app = self._app
        try:
            if act.run is None:
                started = start_command(app.box.home, app.box.clock, act.cli(row, form))
                app.call_from_thread(self._began, act, row, form, started)
                return
            with Box.open(app.box.home, clock=app.box.clock, actor=app.box.actor) as box:
                _check_undo(box, undoes)
                done = act.run(box, row, form)
        except BoxError as error:
            app.call_from_thread(app.say_error, error)
        else:
            app.call_from_thread(self._done, act, row, form, done, undoes)

    def _do_all(self, plan: GroupPlan, answers: Form) -> None:
        app = self._app
        try:
            with Box.open(app.box.home, clock=app.box.clock, actor=app.box.actor) as box:
                self._each(box, plan, answers)
        except BoxError as error:
            app.call_from_thread(app.say_error, error)

    def _each(self, box: Box, plan: GroupPlan, answers: Form) -> None:
        """Row by row. A row that fails holds up no other, except where the disk does: then the rest is not tried."""
        app, group, number = self._app, plan.group, self.journal.new_group()
        failed: list[tuple[str, str]] = []
        done = 0
        for planned in plan.planned:
            target, form = planned.target, plan.form(planned, answers)
            try:
                _check_undo(box, target.undoes)
                if group.act.run is None:
                    started = start_command(app.box.home, app.box.clock, group.act.cli(target.row, form))
                    app.call_from_thread(
                        self._began, group.act, target.row, form, started, (number, target.name)
                    )
                else:
                    app.call_from_thread(
                        self._done_one, group, target, form, group.act.run(box, target.row, form), number
                    )
                done += 1
                app.call_from_thread(group.done, target.name)
            except BoxError as error:
                failed.append((target.name, error.message))
                app.call_from_thread(self._failed_one, group, target, form, error, number)
                if isinstance(error, StorageError):
                    break
        app.call_from_thread(self._ended, group, done, failed, len(plan.planned) - done - len(failed))

    # Back on the screen's thread.

    def _done_one(self, group: Group, target: Target, form: Form, done: Done, number: int) -> None:
        self._add(group.act, target.row, form, done, (number, target.name))
        if target.undoes is not None:
            self.journal.taken_back(target.undoes.number)

    def _failed_one(self, group: Group, target: Target, form: Form, error: BoxError, number: int) -> None:
        self._add(group.act, target.row, form, Done(f"not done: {error.message}"), (number, target.name))

    def _ended(self, group: Group, done: int, failed: list[tuple[str, str]], left: int) -> None:
        said = outcome(group, done, failed, left)
        hint = "  (:history lists each)" if failed else "  (z undoes what can be undone)"
        undoable = bool(failed) or bool(self.journal.undoable(self._app.box.clock.now()))
        self._app.notify(
            f"{said}{hint if undoable else ''}", markup=False, timeout=10 if failed else 6,
            severity="warning" if failed else "information",
        )  # fmt: skip
        self._app.look_again()

    def _began(
        self, act: Act[Any], row: Any, form: Form, started: Started, member: tuple[int, str] | None = None
    ) -> None:
        done = Done(f"started; its output: {started.log.name}")
        entry = self._add(act, row, form, done, member) if member else self._note(act, row, form, done)
        self._started[entry.number] = started

    def _done(self, act: Act[Any], row: Any, form: Form, done: Done, undoes: JournalEntry | None) -> None:
        self._note(act, row, form, done)
        if undoes is not None:
            self.journal.taken_back(undoes.number)
        if done.screen is not None:
            self._app.push_screen(done.screen())

    def _note(self, act: Act[Any], row: Any, form: Form, done: Done) -> JournalEntry:
        app = self._app
        hint = "  (z undoes it)" if done.undo else ""
        app.notify(f"{done.text}{hint}", markup=False, timeout=6)
        app.look_again()
        return self._add(act, row, form, done, None)

    def _add(
        self, act: Act[Any], row: Any, form: Form, done: Done, member: tuple[int, str] | None
    ) -> JournalEntry:
        line = command_line(self._app.box.home, act.cli(row, form))
        group, name = member or (None, "")
        return self.journal.add(self._app.box.clock.now(), line, done.text, done.undo, group=group, name=name)


def _check_undo(box: Box, entry: JournalEntry | None) -> None:
    """Raises where an act can no longer be taken back; ``None``: nothing is."""
    reason = entry.undo.gone(box) if entry is not None and entry.undo is not None else None
    if reason is not None:
        raise UsageError(f"this can no longer be undone: {reason}")
