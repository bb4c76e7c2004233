"""``state.json``: which slot serves, what is on trial, what is marked bad. One file, replaced in one rename.

Every change is a pure function from a :class:`State` to the next, so that all of them can be tested without a disk;
:func:`change` applies one under the lock of the state.

    nothing --install--> trial --healthy--> confirmed
                           |  (3 attempts, each counted before the start)
                           +--attempts used up, or a verdict--> bad; the confirmed version serves
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .atomic import locked, write_whole
from .errors import Refused
from .place import SLOTS, Place
from .strict_json import canonical_json, parse_object

ATTEMPTS = 3
"""Starts that a version on trial is given."""

HISTORY = 50
FORMAT = 1


@dataclass(frozen=True)
class Trial:
    """A version that has to prove itself: its slot, and how many starts are left."""

    slot: str
    left: int

    @property
    def begun(self) -> bool:
        """Whether a start was counted: a trial that is only armed does not serve yet."""
        return self.left < ATTEMPTS


@dataclass(frozen=True)
class State:
    """All that the device must remember of its versions.

    ``previous`` is the slot of the version that was confirmed before, as long as that slot is whole. ``bad`` holds
    digests of versions that are not installed again, ``epoch`` the highest epoch that was confirmed.
    """

    confirmed: str | None = None
    trial: Trial | None = None
    previous: str | None = None
    bad: tuple[str, ...] = ()
    epoch: int = 0
    history: tuple[dict[str, Any], ...] = ()

    @property
    def serving(self) -> str | None:
        """The slot that a server should serve now: the trial once an attempt was counted, else the confirmed one."""
        return self.trial.slot if self.trial and self.trial.begun else self.confirmed

    @property
    def free(self) -> str:
        """The slot that the next bundle goes to."""
        return "b" if self.confirmed == "a" else "a"

    def noted(self, act: dict[str, Any]) -> State:
        """The same, with an act (what, when, which boot, why) at the end of its history."""
        return replace(self, history=(*self.history, act)[-HISTORY:])


def emptied(state: State) -> State:
    """The free slot is about to be overwritten: there is no way back to what it holds."""
    return replace(state, previous=None)


def armed(state: State) -> State:
    """The free slot holds a new, whole version: it gets its attempts."""
    return replace(state, trial=Trial(state.free, ATTEMPTS), previous=None)


def attempted(state: State) -> State:
    """A start of the trial is about to be made."""
    if state.trial is None or state.trial.left < 1:
        raise ValueError("there is no attempt left to count")
    return replace(state, trial=replace(state.trial, left=state.trial.left - 1))


def confirmed(state: State, version_digest: str, epoch: int) -> State:
    """The trial has proved itself."""
    if state.trial is None:
        return state
    return replace(
        state,
        confirmed=state.trial.slot,
        previous=state.confirmed,
        trial=None,
        bad=tuple(one for one in state.bad if one != version_digest),
        epoch=max(state.epoch, epoch),
    )


def fallen_back(state: State, version_digest: str) -> State:
    """The trial is over: the confirmed version serves, the other is not installed again."""
    if state.trial is None:
        return state
    return replace(
        state, trial=None, bad=(*(one for one in state.bad if one != version_digest), version_digest)
    )


def called_off(state: State) -> State:
    """The trial is over because somebody said so: nothing is marked."""
    return replace(state, trial=None)


def rolled_back(state: State) -> State:
    """The version before serves again, and this one is the one before: doing it twice leads back."""
    if state.previous is None:
        raise ValueError("there is no previous version")
    return replace(state, confirmed=state.previous, previous=state.confirmed, trial=None)


def load(place: Place) -> State:
    """The state; the empty one on a device that never installed anything.

    Raises:
        Refused: The file is damaged or of a newer format.
    """
    try:
        data = place.state.read_bytes()
    except FileNotFoundError:
        return State()
    raw = parse_object(data, place.state.name)
    if raw.get("format") != FORMAT:
        raise Refused(
            f"state.json has format {raw.get('format')!r}, this agent knows {FORMAT}", rule="state.format"
        )
    try:
        trial = raw["trial"]
        return State(
            confirmed=_slot(raw["confirmed"]),
            trial=Trial(str(_slot(trial["slot"])), int(trial["left"])) if trial else None,
            previous=_slot(raw.get("previous")),
            bad=tuple(str(one) for one in raw["bad"]),
            epoch=int(raw["epoch"]),
            history=tuple(dict(act) for act in raw["history"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"state.json is damaged: {error!r}", rule="state.damaged") from error


def stamp(place: Place) -> object:
    """Differs once the state was replaced; ``None`` where there is none."""
    try:
        found = place.state.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def save(place: Place, state: State) -> None:
    """Replace the file in one rename.

    Raises:
        OSError: It cannot be written; the old state still holds.
    """
    trial = {"slot": state.trial.slot, "left": state.trial.left} if state.trial else None
    raw = {
        "format": FORMAT, "confirmed": state.confirmed, "trial": trial, "previous": state.previous,
        "bad": list(state.bad), "epoch": state.epoch, "history": list(state.history),
    }  # fmt: skip
    write_whole(place.state, canonical_json(raw))


def change(place: Place, step: Callable[[State], State], act: dict[str, Any] | None = None) -> State:
    """Apply one change, with its act in the history, under the lock; return the new state."""
    with locked(place.state_lock):
        old = load(place)
        new = step(old)
        if new != old:
            new = new.noted(act) if act else new
            save(place, new)
        return new


def _slot(value: Any) -> str | None:
    if value is not None and value not in SLOTS:
        raise ValueError(f"{value!r} is no slot")
    return None if value is None else str(value)
