"""One act on many rows: what is asked once for all, what each row gets, which rows cannot and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlops_box.box import Box
from mlops_box.errors import BoxError
from mlops_box.home import Home
from mlops_box_tui.acts.act import Act, Field, Form, Plan, command_line
from mlops_box_tui.acts.journal import JournalEntry

_LISTED = 10


@dataclass(frozen=True)
class Target:
    """One of the rows.

    Attributes:
        name: What tells it from the others, for a person.
        given: What its fields begin with.
        undoes: The entry that is taken back by it.
    """

    name: str
    row: Any
    given: Form = field(default_factory=dict)
    undoes: JournalEntry | None = None


@dataclass(frozen=True)
class Group:
    """An act and the rows it is asked for.

    Attributes:
        noun: What the rows are, in the plural.
        again: Reads a row as it is now: a marked one may lie outside of what is shown, and be old.
        done: Told of each row that the act was done to.
    """

    act: Act[Any]
    targets: tuple[Target, ...]
    noun: str
    again: Callable[[Box, str, Any], Any] = lambda _box, _name, row: row
    done: Callable[[str], None] = lambda _name: None

    @property
    def title(self) -> str:
        return f"{self.act.label} {len(self.targets)} {self.noun}"


@dataclass(frozen=True)
class Planned:
    """A row that the act can be done to, and what it would do."""

    target: Target
    plan: Plan


@dataclass(frozen=True)
class GroupPlan:
    """What an act would do, row by row, as the box stands now.

    Attributes:
        refused: Rows that it cannot be done to, each with the reason.
    """

    group: Group
    planned: tuple[Planned, ...]
    refused: tuple[tuple[Target, str], ...]

    @property
    def asked(self) -> tuple[Field, ...]:
        """What is asked once for all rows; what each row brings for itself is not asked."""
        fields = [one for one in self.planned[0].plan.fields if not one.fixed] if self.planned else []
        return tuple(one for one in fields if len({_given(planned, one) for planned in self.planned}) == 1)

    def form(self, planned: Planned, answers: Form) -> Form:
        """One row's fields: what it brings, then what was asked."""
        own = {one.name: one.default if one.fixed else _given(planned, one) for one in planned.plan.fields}
        return own | dict(answers)

    def commands(self, home: Home, answers: Form) -> list[str]:
        """The command that does the same, a row."""
        act = self.group.act
        return [command_line(home, act.cli(one.target.row, self.form(one, answers))) for one in self.planned]

    @property
    def word(self) -> str:
        """What has to be typed where the act's danger is ``name``.

        The number, because it catches the row that one forgot was marked; the verb, because a lone digit is typed in passing.
        """
        return f"{self.group.act.label} {len(self.planned)}"

    @property
    def lines(self) -> tuple[str, ...]:
        """What is said before the question: the effect on each row, what holds for all, who cannot and why."""
        total, can = len(self.group.targets), len(self.planned)
        same = [
            line
            for line in (self.planned[0].plan.effect if self.planned else ())
            if all(line in one.plan.effect for one in self.planned)
        ]
        lines = [
            f"{can} of {total} {self.group.noun}:" if can else f"none of the {total} {self.group.noun} can:"
        ]
        for one in self.planned[:_LISTED]:
            own = "; ".join(line for line in one.plan.effect if line not in same)
            lines.append(f"  {one.target.name}{': ' + own if own else ''}")
        if can > _LISTED:
            lines.append(f"  and {can - _LISTED} more")
        lines += [f"each: {line}" for line in same]
        if self.refused and can:
            lines.append(f"{len(self.refused)} of {total} cannot, and stay as they are:")
        return (*lines, *(f"  {target.name}: {why}" for target, why in self.refused))


def plan_group(box: Box, group: Group) -> GroupPlan:
    """Read what would happen to each row; a row that cannot is told with its reason, and holds up no other."""
    planned: list[Planned] = []
    refused: list[tuple[Target, str]] = []
    for target in group.targets:
        try:
            row = group.again(box, target.name, target.row)
            undo = target.undoes.undo if target.undoes else None
            # What is taken back was done to a row that looked otherwise: only what still stands counts.
            why = undo.gone(box) if undo else group.act.applies(row)
            if why is None:
                now = Target(target.name, row, target.given, target.undoes)
                planned.append(Planned(now, group.act.plan(box, row)))
        except BoxError as error:
            why = error.message
        if why is not None:
            refused.append((target, why))
    return GroupPlan(group, tuple(planned), tuple(refused))


def outcome(group: Group, done: int, failed: Sequence[tuple[str, str]], left: int) -> str:
    """What became of a group, in a line: how many were done, which were not and why."""
    said = f"{group.act.label}: {done} of {len(group.targets)} {group.noun} done"
    if failed:
        named = "; ".join(f"{name}: {why}" for name, why in failed[:_LISTED])
        more = f" and {len(failed) - _LISTED} more" if len(failed) > _LISTED else ""
        said += f", {len(failed)} not: {named}{more}"
    if left:
        said += f"; {left} not tried"
    return said


def _given(planned: Planned, one: Field) -> str:
    return planned.target.given.get(one.name, one.default)
