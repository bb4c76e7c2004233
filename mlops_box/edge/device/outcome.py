"""How a trial ends, and the way back: each a change of ``state.json`` in one rename."""

from __future__ import annotations

import time

from .admission import check_epoch
from .errors import Refused
from .history import Clock, act
from .keys import change_keys
from .place import Place
from .rescue import mark_confirmed
from .slots import Slot, read_manifest, read_slot
from .stages import Watch, stage, unwatched
from .state import State, Trial, attempted, called_off, change, confirmed, fallen_back, load, rolled_back


def count_attempt(place: Place, *, clock: Clock = time.time, watch: Watch = unwatched) -> State:
    """Count a start of the version on trial, before it is made.

    Raises:
        OSError: It cannot be written down: then it must not be made.
    """
    with stage("attempt", watch):
        trial, slot = _on_trial(place)
        watch("attempt", "body")
        return change(place, attempted, act("attempt", slot.version, f"{trial.left} left", clock))


def confirm(place: Place, *, clock: Clock = time.time, watch: Watch = unwatched) -> State:
    """The trial has proved itself: from now on it is what serves, and its keys and epoch hold.

    Keys first: cut off in between, the trial is confirmed again, and doing all this twice is doing it once.
    """
    with stage("commit", watch):
        trial, slot = _on_trial(place)
        changes = read_manifest(place.slot(trial.slot)).keys
        if changes.add or changes.revoke:
            change_keys(place, changes)
        mark_confirmed(place, trial.slot)
        watch("commit", "body")
        done = act("confirm", slot.version, "", clock)
        return change(place, lambda state: confirmed(state, slot.version_digest, slot.epoch), done)


def fall_back(place: Place, why: str, *, clock: Clock = time.time, watch: Watch = unwatched) -> State:
    """The trial failed: the confirmed version serves, and this one is marked bad."""
    with stage("fall-back", watch):
        _, slot = _on_trial(place)
        watch("fall-back", "body")
        done = act("fall-back", slot.version, why, clock)
        return change(place, lambda state: fallen_back(state, slot.version_digest), done)


def roll_back(
    place: Place, why: str = "", *, old_epoch: str = "", clock: Clock = time.time, watch: Watch = unwatched
) -> State:
    """Call off a trial; where none is on, go back to the version that was confirmed before. Nothing is marked bad.

    Args:
        old_epoch: A reason to go back to a version of an epoch that must not come back.

    Raises:
        Refused: There is nothing to go back to, or its epoch forbids it.
    """
    with stage("rollback", watch):
        state = load(place.require())
        watch("rollback", "body")
        if state.trial:
            done = act("call-off", _version(place, state.trial.slot), why, clock)
            return change(place, called_off, done)
        slot = read_slot(place, state.previous) if state.previous else None
        if slot is None:
            raise Refused(
                "there is no version to go back to",
                hint="one is kept from the moment that a second version was confirmed until the next is installed",
                rule="rollback.none",
            )
        check_epoch(slot.version, slot.epoch, state, old_epoch)
        reason = "; ".join(part for part in (why, old_epoch) if part)
        return change(place, rolled_back, act("rollback", slot.version, reason, clock))


def _on_trial(place: Place) -> tuple[Trial, Slot]:
    trial = load(place).trial
    slot = read_slot(place, trial.slot) if trial else None
    if trial is None or slot is None:
        raise Refused("no version is on trial", rule="trial.none")
    return trial, slot


def _version(place: Place, name: str) -> str:
    slot = read_slot(place, name)
    return slot.version if slot else f"slot {name}"
