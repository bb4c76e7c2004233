"""``mlops-edge selftest FOLDER``: what the agent runs with limits before it lets a version serve."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

from ..place import SLOTS, Place
from ..slots import read_manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("slot", help="a, b, or the folder of a staged slot.")


def main(place: Place, options: argparse.Namespace) -> int:
    folder = place.slot(options.slot) if options.slot in SLOTS else Path(options.slot)
    run = importlib.import_module("..server.selftest", __package__).run
    problems = [str(problem) for problem in run(folder, read_manifest(folder).limits)]
    if options.json:
        print(json.dumps({"problems": problems}))
    else:
        print("\n".join(problems) or "every golden row is answered as the box answered it")
    return 1 if problems else 0
