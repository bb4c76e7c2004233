"""How code of a slot is started: from its own layers, with nothing inherited but what it needs."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from .place import Place
from .slots import Slot
from .unpack import WHEEL_SITE


@dataclass(frozen=True)
class Runtime:
    """The two layers that code of a slot runs from."""

    runtime: Path
    wheels: Path

    @staticmethod
    def of(place: Place, slot: Slot) -> Runtime:
        return Runtime(place.layer(slot.layers["runtime"]), place.layer(slot.layers["wheels"]))

    def command(self, module: str, *arguments: str) -> list[str]:
        """Python with ``-m module``; start it in :attr:`runtime`, the first folder that it imports from."""
        # -S: no package of the system gets between the layers, and none of its .pth files costs time.
        return [sys.executable, "-s", "-S", "-m", module, *arguments]

    def environment(self) -> dict[str, str]:
        """One thread, no user's packages; of our own environment only where systemd is listening."""
        return {
            "PYTHONPATH": os.pathsep.join([str(self.runtime), str(self.wheels / WHEEL_SITE)]),
            "LANG": "C.UTF-8",
            "PATH": "/usr/bin:/bin",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",
        }
