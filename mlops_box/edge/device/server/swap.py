"""Follows ``state.json``: a version that differs in its model only takes over in place, any other by a restart."""

from __future__ import annotations

import threading
import time
from typing import Callable

from mlops_box.errors import BoxError
from mlops_box.serving.memory import give_back

from ..errors import Refused
from ..place import Place
from ..slots import Slot, read_slot
from ..state import load as load_state
from ..state import stamp as stamp_of_state
from .device import Device
from .journal import tell
from .model import load

POLL_S = 0.1
_LAYERS = ("runtime", "wheels")


class Follower:
    """Watches which slot should serve, in a thread of its own.

    Args:
        name: The slot that serves at first, and what lies in it.
        on_swap: Told the slot's name once its version answers.
        restart: Called when another runtime is needed.
    """

    def __init__(
        self,
        place: Place,
        device: Device,
        name: str,
        slot: Slot,
        on_swap: Callable[[str], None],
        restart: Callable[[], None],
    ) -> None:
        self._place = place
        self._device = device
        self._layers = [slot.layers[layer] for layer in _LAYERS]
        self._serving = (name, slot.manifest_digest)
        self._refused: tuple[str, str] | None = None
        self._on_swap = on_swap
        self._restart = restart
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="swap", daemon=True)
        self._seen: object = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(POLL_S):
            try:
                self.look()
            except (OSError, Refused) as error:
                tell(f"state.json cannot be followed: {error}")

    def look(self) -> None:
        """Compare once, and act.

        Raises:
            Refused: The state or the slot is damaged; what serves goes on.
            OSError: They cannot be read.
        """
        stamp = stamp_of_state(self._place)
        if stamp == self._seen:
            return
        name = load_state(self._place).serving
        slot = read_slot(self._place, name) if name is not None else None
        self._seen = stamp
        if name is None or slot is None:
            return
        wanted = (name, slot.manifest_digest)
        if wanted in (self._serving, self._refused):
            return
        if [slot.layers[layer] for layer in _LAYERS] != self._layers:
            tell(f"{slot.version} needs another runtime: starting anew")
            self._restart()
            return
        self._turn(wanted, slot)

    def _turn(self, wanted: tuple[str, str], slot: Slot) -> None:
        """Load beside what serves, prove, and put in place by one assignment."""
        started_s = time.monotonic()
        try:
            served = load(self._place.bundle(wanted[0]), slot.model, slot.number, slot.version_digest)
        except BoxError as error:
            tell(f"{slot.version} does not take over: {error.message}")
            self._refused = wanted
            self._device.swap_failed(slot.model, error)
            return
        self._device.swap(served, time.monotonic() - started_s)
        give_back()
        self._serving, self._refused = wanted, None
        tell(f"{slot.version} serves")
        self._on_swap(wanted[0])
