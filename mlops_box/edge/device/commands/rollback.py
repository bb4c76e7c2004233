"""``mlops-edge rollback``."""

from __future__ import annotations

import argparse
import json

from ..outcome import roll_back
from ..place import Place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--why", default="", metavar="REASON", help="Kept in the history.")
    parser.add_argument(
        "--allow-old-epoch",
        default="",
        metavar="REASON",
        help="Go back to a version that must not come back.",
    )


def main(place: Place, options: argparse.Namespace) -> int:
    state = roll_back(place, options.why, old_epoch=options.allow_old_epoch)
    last = state.history[-1]
    if options.json:
        print(json.dumps({"act": last["act"], "version": last["version"], "serving": state.serving}))
    elif last["act"] == "call-off":
        print(f"the trial of {last['version']} is called off")
    else:
        print(f"{last['version']} serves again, from slot {state.confirmed}")
    return 0
