"""What an act is: when it applies, what it would do, the command that does the same, how it is undone."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import Screen

from mlops_box.box import Box
from mlops_box.home import Home, home_from

T = TypeVar("T")

# How much is asked before it runs: one key, a yes, or the name of what would be gone.
Danger = Literal["none", "confirm", "name"]
Form = Mapping[str, str]


@dataclass(frozen=True)
class Field:
    """One thing to fill in.

    Attributes:
        optional: May stay empty.
        fixed: Looked up, shown in the command, not asked.
    """

    name: str
    label: str
    default: str = ""
    optional: bool = False
    fixed: bool = False


@dataclass(frozen=True)
class Plan:
    """What an act would do to a row, as the box stands now.

    Attributes:
        effect: Lines for a person, with numbers.
        name: What has to be typed where the act's danger is ``name``.
    """

    effect: tuple[str, ...]
    fields: tuple[Field, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class Done:
    """What an act did, in a line, and how to take it back where it can be.

    Attributes:
        screen: Shows it whole, where a line is not enough.
    """

    text: str
    undo: Undo | None = None
    screen: Callable[[], Screen[None]] | None = None


@dataclass(frozen=True)
class Undo:
    """The act that takes another one back.

    Attributes:
        form: What the fields begin with.
        gone: Says why it can no longer be taken back; ``None`` while it can.
    """

    act: Act[Any]
    row: Any
    form: Form = field(default_factory=dict)
    gone: Callable[[Box], str | None] = lambda _box: None


def applies_always(_row: object) -> str | None:
    """For acts that every row allows."""
    return None


@dataclass(frozen=True)
class Act(Generic[T]):
    """One act on rows of one kind.

    Attributes:
        id: ``act.ID`` is the id of its key.
        key: An upper-case letter.
        plan: Reads what would happen; runs in the reader's thread, raises :class:`BoxError` where it cannot.
        cli: Arguments of ``mlops-box`` that do the same.
        run: Does it, by the operation that the command calls. ``None``: it takes long, the command itself is started
            as a process of its own.
        applies: Why it does not apply to a row; ``None`` where it does.
        needs_row: It acts on what the cursor is on; otherwise the row may be ``None``.
        many: It may be done to all marked rows at once; what it asks is then asked once for all.
        also: Another line that does the same, without ``mlops-box``; ``None`` where there is none now.
    """

    id: str
    key: str
    label: str
    tooltip: str
    danger: Danger
    plan: Callable[[Box, T], Plan]
    cli: Callable[[T, Form], list[str]]
    run: Callable[[Box, T, Form], Done] | None = None
    applies: Callable[[T], str | None] = applies_always
    needs_row: bool = True
    many: bool = False
    also: Callable[[Home, T, Form], str | None] = lambda _home, _row, _form: None


# The line at the bottom has room for so many acts of a view; ? lists all that apply.
_SHOWN = 3


def act_bindings(acts: Sequence[Act[Any]]) -> list[BindingType]:
    """The keys of a view's acts, the most wanted first."""
    return [
        Binding(
            act.key,
            f"act('{act.id}')",
            act.label,
            id=f"act.{act.id}",
            tooltip=act.tooltip,
            show=place < _SHOWN,
        )
        for place, act in enumerate(acts)
    ]


def command_line(home: Home, arguments: Sequence[str]) -> str:
    """What to type for the same effect; the home is named unless it is the one that would be found anyway."""
    return shlex.join(["mlops-box", *arguments, *home_arguments(home)])


def home_arguments(home: Home) -> list[str]:
    """``--home DIR`` where that is not the home the environment names."""
    return [] if home_from(os.environ) == home else ["--home", str(home.root)]


def reason_field(text: str = "why, for the ledger") -> Field:
    """What every act that is recorded with a reason asks for."""
    return Field("reason", text)
