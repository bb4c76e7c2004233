"""``mlops-edge install FILE``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..admission import Overrides, this_device
from ..install import install
from ..place import Place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="The bundle.")
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """The two reasons that a person may give; they are kept in the history."""
    parser.add_argument("--again", default="", metavar="REASON", help="Take a version that is marked bad.")
    parser.add_argument(
        "--allow-old-epoch", default="", metavar="REASON", help="Take a version that must not come back."
    )


def overrides_of(options: argparse.Namespace) -> Overrides:
    return Overrides(options.again, options.allow_old_epoch)


def main(place: Place, options: argparse.Namespace) -> int:
    """Install; progress goes to standard error, the outcome to standard output."""

    def watch(stage: str, point: str) -> None:
        if point == "enter" and not options.json:
            print(f"{stage} …", file=sys.stderr)

    done = install(place, options.file, this_device(), overrides=overrides_of(options), watch=watch)
    if options.json:
        print(json.dumps({"version": done.version, "slot": done.slot, "already": done.already}))
    elif done.already:
        print(f"{done.version} is in slot {done.slot} already: nothing to do")
    else:
        print(f"{done.version} is on trial in slot {done.slot}; it serves when the server is running")
    return 0
