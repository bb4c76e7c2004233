"""A ``state.json`` that can no longer be read must not stop a device: slots that were once confirmed say so themselves."""

from __future__ import annotations

import time
from typing import Callable

from .atomic import locked, write_whole
from .errors import Refused
from .history import act
from .place import SLOTS, Place
from .slots import damage, read_slot
from .state import State, load, save

_MARK = "confirmed"


def mark_confirmed(place: Place, slot: str) -> None:
    """Note in a slot itself that its version proved itself. Done before the state says so."""
    write_whole(place.slot(slot) / _MARK, b"")


def load_or_rescue(place: Place, tell: Callable[[str], None]) -> State:
    """The state; where its file is damaged, a new one from the slots: what was confirmed serves, nothing is on trial."""
    try:
        return load(place)
    except Refused as refused:
        tell(f"{refused.message}; making a new one from the slots")
        with locked(place.state_lock):
            state = _from_slots(place, refused.message)
            try:
                save(place, state)
            except OSError as error:
                # What was confirmed serves all the same: the next look finds the damage again.
                tell(f"state.json cannot be written: {error}")
        return state


def _from_slots(place: Place, why: str) -> State:
    whole = [name for name in SLOTS if (place.slot(name) / _MARK).exists() and damage(place, name) is None]
    slots = {name: slot for name in whole for slot in [read_slot(place, name)] if slot}
    # The later epoch, then the later version: the one that was more likely the last.
    order = sorted(slots, key=lambda name: (slots[name].epoch, slots[name].number), reverse=True)
    epoch = max((slot.epoch for slot in slots.values()), default=0)
    state = State(
        confirmed=order[0] if order else None, previous=order[1] if len(order) > 1 else None, epoch=epoch
    )
    version = slots[order[0]].version if order else ""
    return state.noted(act("rescue", version, why, time.time))
