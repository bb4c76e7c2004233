"""What a view or a detail needs in order to act: the keys, when they are greyed, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.events import Key
from textual.widget import Widget

from mlops_box_tui.acts.act import Act
from mlops_box_tui.acts.group import Group, Target

if TYPE_CHECKING:
    from mlops_box_tui.app import BoxApp

READ_ONLY = "opened with --readonly: nothing acts here"


class Acting(Widget):
    """Mixed into views and details.

    Attributes:
        ACTS: What can be done to a row; a subclass gives its ``BINDINGS`` their keys by :func:`act_bindings`.
    """

    ACTS: ClassVar[tuple[Act[Any], ...]] = ()

    app: BoxApp
    _lit: tuple[bool, ...] = ()

    @property
    def act_row(self) -> Any:
        """What is acted on: the row under the cursor, or what a detail shows; ``None`` when there is nothing."""
        raise NotImplementedError

    def refusal(self, act: Act[Any]) -> str | None:
        """Why an act cannot be done now; ``None`` when it can."""
        if self.app.settings.read_only:
            return READ_ONLY
        marked = self.marked_targets()
        if marked:
            return self._refusal_of_marked(act, [target.row for target in marked])
        row = self.act_row
        if row is None:
            return "there is nothing to act on" if act.needs_row else None
        return act.applies(row)

    def marked_targets(self) -> tuple[Target, ...]:
        """The rows that are marked: an act is about these, wherever the cursor is."""
        return ()

    def group_of(self, act: Act[Any]) -> Group:
        """An act for all marked rows."""
        raise NotImplementedError

    def _refusal_of_marked(self, act: Act[Any], rows: list[Any]) -> str | None:
        if act.many:
            reasons = [act.applies(row) for row in rows]
            return reasons[0] if all(reasons) else None
        if len(rows) > 1:
            return f"it takes one row, and {len(rows)} are marked; esc takes the marks away"
        return act.applies(rows[0])

    def refresh_acts(self) -> None:
        """Grey and light the keys anew where that has changed: the line of keys is dear to draw."""
        lit = tuple(self.refusal(act) is None for act in self.ACTS)
        if lit != self._lit and self.is_mounted:
            self._lit = lit
            self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey the key of an act that cannot be done now."""
        if action != "act":
            return super().check_action(action, parameters)
        return True if self.refusal(self._act(str(parameters[0]))) is None else None

    def action_act(self, act_id: str) -> None:
        act, marked = self._act(act_id), self.marked_targets()
        if len(marked) > 1:
            self.app.performer.ask_all(self.group_of(act))
        else:
            self.app.performer.ask(act, marked[0].row if marked else self.act_row)

    def on_key(self, event: Key) -> None:
        # A greyed key does nothing by itself; a person is told why.
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            name, _, rest = binding.action.partition("('")
            reason = self.refusal(self._act(rest.removesuffix("')"))) if name == "act" else None
            if reason is not None:
                event.stop()
                self.app.notify(
                    f"{binding.description}: {reason}", severity="warning", markup=False, timeout=4
                )

    def _act(self, act_id: str) -> Act[Any]:
        return next(act for act in self.ACTS if act.id == act_id)
