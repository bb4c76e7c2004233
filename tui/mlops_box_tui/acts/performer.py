"""Asks before an act, runs it beside the screen, notes what it did, takes it back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from mlops_box.box import Box
from mlops_box.errors import BoxError, UsageError
from mlops_box_tui.acts.act import Act, Done, Form, command_line
from mlops_box_tui.acts.acting import READ_ONLY
from mlops_box_tui.acts.commands import Started, start_command
from mlops_box_tui.acts.confirm import ActScreen
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

    def undo(self) -> None:
        """Ask whether the newest act that can be taken back shall be."""
        app = self._app
        if app.settings.read_only:
            app.notify(f"undo: {READ_ONLY}", severity="warning", markup=False, timeout=4)
            return
        entry = self.journal.undoable(app.box.clock.now())
        if entry is None or entry.undo is None:
            app.notify("nothing of the last 30 minutes can be undone", markup=False, timeout=4)
            return
        self._ask(entry.undo.act, entry.undo.row, entry.undo.form, entry)

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

    # In a thread of its own: the screen never waits for the box.

    def _do(self, act: Act[Any], row: Any, form: Form, undoes: JournalEntry | None) -> None:
        app = self._app
        try:
            if act.run is None:
                started = start_command(app.box.home, app.box.clock, act.cli(row, form))
                app.call_from_thread(self._began, act, row, form, started)
                return
            with Box.open(app.box.home, clock=app.box.clock, actor=app.box.actor) as box:
                reason = undoes.undo.gone(box) if undoes and undoes.undo else None
                if reason is not None:
                    raise UsageError(f"this can no longer be undone: {reason}")
                done = act.run(box, row, form)
        except BoxError as error:
            app.call_from_thread(app.say_error, error)
        else:
            app.call_from_thread(self._done, act, row, form, done, undoes)

    # Back on the screen's thread.

    def _began(self, act: Act[Any], row: Any, form: Form, started: Started) -> None:
        entry = self._note(act, row, form, Done(f"started; its output: {started.log.name}"))
        self._started[entry.number] = started

    def _done(self, act: Act[Any], row: Any, form: Form, done: Done, undoes: JournalEntry | None) -> None:
        self._note(act, row, form, done)
        if undoes is not None:
            self.journal.taken_back(undoes.number)
        if done.screen is not None:
            self._app.push_screen(done.screen())

    def _note(self, act: Act[Any], row: Any, form: Form, done: Done) -> JournalEntry:
        app = self._app
        line = command_line(app.box.home, act.cli(row, form))
        hint = "  (z undoes it)" if done.undo else ""
        app.notify(f"{done.text}{hint}", markup=False, timeout=6)
        app.look_again()
        return self.journal.add(app.box.clock.now(), line, done.text, done.undo)
