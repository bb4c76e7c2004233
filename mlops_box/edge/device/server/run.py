"""Puts the parts of the server together, and runs them until it is asked to stop.

Modules that few starts need (names and tokens for who listens beyond the loopback interface) are imported where they are
needed: from the start to the first prediction there is a tenth of a second.
"""

from __future__ import annotations

import contextlib
import gc
import getopt
import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from mlops_box.clock import SystemClock
from mlops_box.errors import BoxError, UsageError
from mlops_box.serving.guard import Guard
from mlops_box.serving.problems import HttpProblem

from ..boot import boot_id
from ..errors import Refused
from ..log import RingLog
from ..place import SLOTS, Place, find_place
from ..slots import read_limits, read_slot
from .app import App, Outbox
from .device import Device
from .histogram import Histograms
from .journal import tell
from .model import load
from .recorder import Recorder
from .server import EdgeServer
from .swap import Follower

if TYPE_CHECKING:
    from mlops_box.serving.authorization import Authorizer

EXIT_RESTART = 75
EXIT_FAILED = 2
SWITCH_S = 0.001
USAGE = "server --slot a|b [--root FOLDER] [--host ADDRESS] [--port NUMBER] [--allow-host NAME]..."


class Options:
    """What the agent asks for.

    Attributes:
        root: The device's folder; ``None``: the usual one.
        port: 0 takes a free one.
        names: Further names that the server is called by.
    """

    def __init__(self, arguments: list[str]) -> None:
        self.root: str | None = None
        self.slot, self.host, self.port = "", "127.0.0.1", 8080
        self.names: list[str] = []
        found, rest = getopt.getopt(arguments, "", ["root=", "slot=", "host=", "port=", "allow-host="])
        for name, value in found:
            if name == "--root":
                self.root = value
            elif name == "--slot":
                self.slot = value
            elif name == "--host":
                self.host = value
            elif name == "--port":
                self.port = int(value)
            else:
                self.names.append(value)
        if rest or self.slot not in SLOTS:
            raise ValueError(USAGE)


def main(arguments: list[str]) -> int:
    """Serve; 0 when it was asked to stop, 75 when it must be started anew, 2 when it cannot serve."""
    try:
        options = Options(arguments)
    except (getopt.GetoptError, ValueError) as error:
        tell(f"error: {error}; {USAGE}")
        return EXIT_FAILED
    try:
        return _serve(find_place(options.root), options)
    except (BoxError, Refused) as error:
        tell(f"error: {error.message}" + (f"; {error.hint}" if error.hint else ""))
    except OSError as error:
        tell(f"error: {error}")
    return EXIT_FAILED


def _serve(place: Place, options: Options) -> int:
    ended, restart = threading.Event(), threading.Event()
    guard, authorizer, reached = _access(place, options, ended)
    name = options.slot
    slot = read_slot(place, name)
    if slot is None:
        raise UsageError(f"slot {name} is empty", hint="mlops-edge install BUNDLE")
    boot, clock = boot_id(place), SystemClock()
    ring = RingLog(place.log, int(read_limits(place.slot(name))["log_bytes"]))
    histograms = Histograms()
    recorder = Recorder(ring, boot, histograms, clock)
    # Nobody but the device holds the version: one that was replaced leaves the memory.
    device = Device(
        load(place.bundle(name), slot.model, slot.number, slot.version_digest),
        ring,
        recorder,
        histograms,
        clock,
    )
    server = EdgeServer(App(device, guard, authorizer, _outbox(place)), options.host, options.port)

    def announce(serving: str) -> None:
        _announce(place, reached, server.port, serving, boot, device.served.ref)

    def again() -> None:
        restart.set()
        server.stop()

    follower = Follower(place, device, name, slot, announce, again)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    recorder.start()
    announce(name)
    follower.start()
    # The log's thread must not keep a request waiting for Python's usual 5 ms.
    sys.setswitchinterval(SWITCH_S)
    gc.freeze()
    gc.enable()
    server.run()
    follower.stop()
    ended.set()
    recorder.stop()
    ring.close()
    return EXIT_RESTART if restart.is_set() else 0


def _announce(place: Place, host: str, port: int, name: str, boot: str, version: str) -> None:
    """``run/server.json``: who serves what, where."""
    facts = {
        "pid": os.getpid(),
        "host": host,
        "port": port,
        "slot": name,
        "boot": boot,
        "version": version,
    }
    # Whole for who reads it, but not synced: after a power cut there is no server, and a sync may take longer than a start.
    fresh = place.server.with_name(f".{place.server.name}.{os.getpid()}")
    fresh.write_bytes(json.dumps(facts).encode())
    os.replace(str(fresh), str(place.server))


def _access(place: Place, options: Options, ended: threading.Event) -> tuple[Guard, Authorizer | None, str]:
    """By which names the server is called, whom it asks for a token, and where this machine reaches it.

    On the loopback interface nobody is asked.

    Raises:
        UsageError: It can be reached from elsewhere, and its name or a token is missing.
    """
    with contextlib.suppress(FileNotFoundError):
        place.server_token.unlink()
    if options.host in ("127.0.0.1", "localhost") and not options.names:
        return Guard(), None, options.host
    from mlops_box.serving.access import access_for, reached_at
    from mlops_box.serving.authorization import Authorizer
    from mlops_box.serving.bearer import new_token

    from ..atomic import write_whole
    from .tokens import FileTokens

    access = access_for(options.host, allow_hosts=options.names)
    guard, reached = Guard(hosts=access.hosts), reached_at(options.host)
    if not access.needs_token:
        return guard, None, reached
    tokens = FileTokens(place.tokens)
    if not tokens.list():
        raise UsageError(
            "the server would ask for a token, and there is none",
            hint="mlops-edge token NAME makes one; or listen at 127.0.0.1",
        )
    # The agent asks as this machine's own: who can read its token could change the others.
    own = new_token()
    write_whole(place.server_token, own.encode(), private=True)
    authorizer = Authorizer(tokens, SystemClock(), local=own)
    authorizer.follow(ended)
    return guard, authorizer, reached


def _outbox(place: Place) -> Outbox:
    def next_batch(acknowledgement: bytes) -> bytes:
        from ..sync import outbox_page

        try:
            return outbox_page(place, acknowledgement)
        except Refused as error:
            raise HttpProblem(403, "refused", error.message, hint=error.hint or None) from None

    return next_batch
