"""``python3 -m mlops_edge.server``: started by the agent for a slot, ends on SIGTERM."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading

from mlops_box.clock import SystemClock
from mlops_box.errors import BoxError, UsageError
from mlops_box.serving.access import Access, access_for
from mlops_box.serving.authorization import Authorizer
from mlops_box.serving.guard import Guard
from mlops_box.serving.problems import HttpProblem

from ..atomic import write_whole
from ..boot import boot_id
from ..errors import Refused
from ..log import RingLog
from ..place import Place, find_place
from ..slots import read_manifest, read_slot
from .app import App, Outbox
from .device import Device
from .histogram import Histograms
from .model import load
from .recorder import Recorder
from .server import EdgeServer
from .swap import Follower
from .tokens import NAME, FileTokens

EXIT_RESTART = 75
EXIT_FAILED = 2


def main(arguments: list[str] | None = None) -> int:
    """Serve; 0 when it was asked to stop, 75 when it must be started anew, 2 when it cannot serve."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    place = find_place(options.root)
    try:
        access = access_for(options.host, allow_hosts=options.allow_host)
        return _serve(place, options.slot, options.host, options.port, access)
    except (BoxError, Refused):
        pass
    except OSError:
        pass
    return EXIT_FAILED


def _serve(place: Place, name: str, host: str, port: int, access: Access) -> int:
    slot = read_slot(place, name)
    if slot is None:
        raise UsageError(f"slot {name} is empty", hint="mlops-edge install BUNDLE")
    boot, clock = boot_id(place), SystemClock()
    served = load(place.bundle(name), slot.model, slot.number, slot.version_digest)
    ring = RingLog(place.log, read_manifest(place.slot(name)).limits.log_bytes)
    histograms = Histograms()
    recorder = Recorder(ring, boot, histograms, clock)
    device = Device(served, ring, recorder, histograms, clock)
    ended, restart = threading.Event(), threading.Event()
    app = App(device, Guard(hosts=access.hosts), _authorizer(place, access, clock, ended), _outbox(place))
    server = EdgeServer(app, host, port)

    def announce(serving: str) -> None:
        _announce(place, server.port, serving, boot, device.served.ref)

    def again() -> None:
        restart.set()
        server.stop()

    follower = Follower(place, device, name, slot, announce, again)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    recorder.start()
    announce(name)
    follower.start()
    server.run()
    follower.stop()
    ended.set()
    recorder.stop()
    ring.close()
    return EXIT_RESTART if restart.is_set() else 0


def _announce(place: Place, port: int, name: str, boot: str, version: str) -> None:
    """``run/server.json``: who serves what, where."""
    facts = {"pid": os.getpid(), "port": port, "slot": name, "boot": boot, "version": version}
    write_whole(place.server, json.dumps(facts).encode())


def _authorizer(
    place: Place, access: Access, clock: SystemClock, ended: threading.Event
) -> Authorizer | None:
    if not access.needs_token:
        return None
    tokens = FileTokens(place.root / NAME)
    if not tokens.list():
        raise UsageError(
            "the server would ask for a token, and there is none",
            hint="mlops-edge token NAME makes one; or listen at 127.0.0.1",
        )
    authorizer = Authorizer(tokens, clock)
    authorizer.follow(ended)
    return authorizer


def _outbox(place: Place) -> Outbox:
    def next_batch(acknowledgement: bytes) -> bytes:
        from ..sync import outbox_page

        try:
            return outbox_page(place, acknowledgement)
        except Refused as error:
            raise HttpProblem(403, "refused", error.message, hint=error.hint or None) from None

    return next_batch


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlops_edge.server", description="Serves a slot's model.")
    parser.add_argument("--root", help="The device's folder.")
    parser.add_argument("--slot", required=True, choices=("a", "b"))
    parser.add_argument("--host", default="127.0.0.1", help="Where to listen.")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one.")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="A further name it is called by."
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
