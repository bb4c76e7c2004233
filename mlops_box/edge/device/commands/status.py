"""``mlops-edge status``."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..boot import boot_id, device_facts
from ..errors import Refused
from ..place import SLOTS, Place
from ..slots import read_slot
from ..state import State, load
from ..strict_json import parse_object


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--history", type=int, default=5, metavar="N", help="Acts to show (default 5).")


def main(place: Place, options: argparse.Namespace) -> int:
    facts = report(place.require(), options.history)
    if options.json:
        print(json.dumps(facts))
        return 0
    print(f"device   {facts['device']}   serving {facts['serving'] or 'nothing'}")
    for name, slot in facts["slots"].items():
        print(f"slot {name}   {slot['version'] or 'empty'}{'   ' + slot['role'] if slot['role'] else ''}")
    print(f"epoch    {facts['epoch']}   marked bad {len(facts['bad'])}")
    for entry in facts["history"]:
        print(f"         {entry['act']} {entry['version']} {entry.get('why', '')}".rstrip())
    return 0


def report(place: Place, history: int = 5) -> dict[str, Any]:
    """What ``status --json`` prints: slots with their roles, what the server says of itself, the last acts."""
    state = load(place)
    slots = {name: read_slot(place, name) for name in SLOTS}
    serving = slots[state.serving] if state.serving else None
    return {
        "device": device_facts(place).get("name"),
        "boot": boot_id(place),
        "serving": serving.version if serving else None,
        "server": _server(place),
        "slots": {
            name: {"version": slot.version if slot else None, "role": _role(state, name)}
            for name, slot in slots.items()
        },
        "trial": {"slot": state.trial.slot, "left": state.trial.left} if state.trial else None,
        "epoch": state.epoch,
        "bad": list(state.bad),
        "history": list(state.history[-history:]) if history > 0 else [],
    }


def _role(state: State, name: str) -> str:
    if state.trial and state.trial.slot == name:
        return f"on trial, {state.trial.left} attempts left"
    if state.confirmed == name:
        return "confirmed"
    return "the one before" if state.previous == name else ""


def _server(place: Place) -> dict[str, Any] | None:
    try:
        return parse_object(place.server.read_bytes(), "server.json")
    except (FileNotFoundError, Refused):
        return None
