"""``mlops-edge sync``: bring predictions, ground truth and counts to the box.

By a stick: ``--to DIR`` here, ``mlops-box edge import`` there, ``--ack FILE`` with the answer. By network: ``--push URL``, or
the box pulls. Nothing is deleted here before the box has said, under its signature, that it has it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..carry import remove_acknowledged, write_batches
from ..errors import Refused
from ..outgoing import Outgoing
from ..place import Place
from ..push import push

_MAX_ACKNOWLEDGEMENT_BYTES = 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--to", metavar="DIR", help="Write signed batches to a folder (default: the outbox).")
    way.add_argument("--ack", metavar="FILE", nargs="+", help="Forget what the box says it has.")
    way.add_argument("--push", metavar="URL", help="Send to the box: http://box:8321.")


def main(place: Place, options: argparse.Namespace) -> int:
    """Run the command; what it did goes to standard output."""
    with Outgoing(place) as outgoing:
        facts, text = _run(outgoing, place, options)
    print(json.dumps(facts) if options.json else text)
    return 0


def _run(outgoing: Outgoing, place: Place, options: argparse.Namespace) -> tuple[dict[str, object], str]:
    if options.push:
        taken = push(outgoing, options.push)
        return {"taken": taken}, f"the box took over {taken} records"
    if options.ack:
        gone = sum(outgoing.take(_read(Path(file))) for file in options.ack)
        remove_acknowledged(outgoing, place.outbox)
        return {"deleted": gone}, f"{gone} records are at the box and were deleted here"
    files = [str(file) for file in write_batches(outgoing, Path(options.to or place.outbox))]
    return {"files": files}, "\n".join([*files, "then, at the box: mlops-box edge import FILE... --ack DIR"])


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_MAX_ACKNOWLEDGEMENT_BYTES)
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror or error}", rule="sync.ack") from error
