"""``python3 -m mlops_edge COMMAND``: every command is a module of its own, imported when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from types import ModuleType

from .errors import Refused
from .place import find_place

COMMANDS = {
    "init": "Make the device's folder, its key, and trust the box's key.",
    "verify": "Check a bundle and say whether this device would take it.",
    "install": "Verify a bundle, test it, and put it on trial in the free slot.",
    "status": "Say what serves, what is on trial and what is marked bad.",
    "serve": "Serve the model; watch it, restart it, fall back.",
    "rollback": "Go back to the version that was confirmed before.",
    "keys": "List, trust or revoke the keys whose bundles this device takes.",
    "token": "Make a token for callers from other machines.",
    "sync": "Bring predictions and ground truth to the box.",
    "selftest": "Run the golden rows of a slot (called by the agent, with limits).",
}
EXIT_REFUSED = 2


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code is 0, or 2 when it was refused."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="mlops-edge", description="The agent of a field device.")
    table = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    named = next((word for word in words if word in COMMANDS), None)
    for name, text in COMMANDS.items():
        command = table.add_parser(name, help=text, description=text)
        command.add_argument(
            "--root", help="The device's folder ($MLOPS_EDGE_HOME, else /opt/mlops-box-edge)."
        )
        command.add_argument("--json", action="store_true", help="Print JSON.")
        if name == named:
            _module(name).add_arguments(command)
    options = parser.parse_args(words)
    try:
        return int(_module(options.command).main(find_place(options.root), options))
    except Refused as refused:
        _tell(refused, options.json)
        return EXIT_REFUSED
    except OSError as error:
        _tell(Refused(f"the disk or the system refused: {error}", rule="system"), options.json)
        return EXIT_REFUSED


def _module(command: str) -> ModuleType:
    return importlib.import_module(f".commands.{command}", __package__)


def _tell(refused: Refused, as_json: bool) -> None:
    if as_json:
        error = {"message": refused.message, "hint": refused.hint, "rule": refused.rule}
        print(json.dumps({"error": error}))
        return
    print(f"error: {refused.message}", file=sys.stderr)
    if refused.hint:
        print(f"hint: {refused.hint}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
