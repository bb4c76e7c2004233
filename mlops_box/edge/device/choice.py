"""Which slot is started next: the trial, its attempt counted first; else the confirmed version; else the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from .errors import Refused
from .outcome import count_attempt, fall_back, roll_back
from .place import Place
from .rescue import load_or_rescue
from .slots import Slot, damage, read_slot
from .state import State

Tell = Callable[[str], None]
CRASHES_BEFORE_GOING_BACK = 5
"""Starts in a row that never became ready, after which even a confirmed version gives way to the one before it."""


@dataclass(frozen=True)
class Choice:
    """A slot to start, and whether it is on trial."""

    name: str
    slot: Slot
    on_trial: bool


def choose(place: Place, tell: Tell, *, crashes: int = 0, counted: bool = False) -> Choice | None:
    """Decide, and write down what that takes; ``None`` when nothing can be served.

    Args:
        crashes: Starts in a row that never became ready.
        counted: The attempt of the trial was counted already, for a swap in place that needed a restart.
    """
    state = load_or_rescue(place, tell)
    if state.trial:
        chosen = _trial(place, state, tell, counted)
        if chosen:
            return chosen
        state = load_or_rescue(place, tell)
    return _confirmed(place, state, tell, crashes)


def _trial(place: Place, state: State, tell: Tell, counted: bool) -> Choice | None:
    trial = state.trial
    assert trial is not None
    try:
        wrong = damage(place, trial.slot)
        if wrong is None and trial.left < 1 and not counted:
            wrong = "its attempts are used up"
        if wrong:
            tell(f"slot {trial.slot} falls back: {wrong}")
            fall_back(place, wrong)
            return None
        if not counted:
            count_attempt(place)
    except OSError as error:
        # An attempt that cannot be counted must not be made: a reboot loop would never end.
        tell(f"no attempt at slot {trial.slot}: {error}")
        return None
    return _choice(place, trial.slot, on_trial=True)


def _confirmed(place: Place, state: State, tell: Tell, crashes: int) -> Choice | None:
    if state.confirmed is None:
        return None
    wrong = damage(place, state.confirmed)
    if wrong is None and crashes >= CRASHES_BEFORE_GOING_BACK:
        wrong = f"{crashes} starts in a row never became ready"
    if wrong and state.previous and damage(place, state.previous) is None:
        tell(f"slot {state.confirmed}: {wrong}; going back")
        try:
            state = roll_back(place, wrong)
        except (Refused, OSError) as error:
            tell(f"cannot go back: {error}")
    assert state.confirmed is not None
    return _choice(place, state.confirmed, on_trial=False)


def _choice(place: Place, name: str, *, on_trial: bool) -> Choice | None:
    try:
        slot = read_slot(place, name)
    except Refused:
        return None
    return Choice(name, slot, on_trial) if slot else None
