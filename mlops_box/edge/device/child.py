"""The server of a slot as a child process."""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import dataclass

from .boot import count_start
from .launch import Runtime
from .limited import die_with_parent
from .place import Place
from .slots import Slot

WANTS_RESTART = 75
"""The exit code of a server that must be started anew to serve the slot that it should."""

_STOP_S = 10.0


@dataclass(frozen=True)
class Address:
    """Where the server listens (port 0 lets the system choose), and the further names that it is called by."""

    host: str
    port: int
    names: tuple[str, ...] = ()


class Child:
    """A running server. It ends with us, however we end."""

    def __init__(self, place: Place, name: str, slot: Slot, address: Address) -> None:
        runtime = Runtime.of(place, slot)
        with contextlib.suppress(FileNotFoundError):
            place.server.unlink()
        count_start(place)
        where = (
            "--root",
            str(place.root),
            "--slot",
            name,
            "--host",
            address.host,
            "--port",
            str(address.port),
            *(word for name in address.names for word in ("--allow-host", name)),
        )
        self._process = subprocess.Popen(
            runtime.command("mlops_edge.server", *where),
            cwd=str(runtime.runtime),
            env=runtime.environment(),
            stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent(),
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code; ``None`` while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """End it at once: who hangs finishes no request."""
        self._process.kill()

    def stop(self) -> None:
        """Let it finish its requests, for ten seconds at most."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
