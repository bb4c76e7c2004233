"""How many processes may answer: ``3``, ``1-4`` or ``auto``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from mlops_box.errors import UsageError

MOST = 64
_FORM = re.compile(r"([0-9]{1,3})(?:-([0-9]{1,3}))?")


@dataclass(frozen=True)
class WorkerBounds:
    """At least and at most so many workers.

    >>> WorkerBounds.parse("auto", cores=4)
    WorkerBounds(least=1, most=4)
    >>> WorkerBounds.parse("2-3").is_one
    False
    """

    least: int
    most: int

    @property
    def is_one(self) -> bool:
        """One process, and never more: it needs nobody to open the door."""
        return self.most == 1

    @staticmethod
    def parse(text: str, *, cores: int | None = None) -> WorkerBounds:
        """Read ``N``, ``MIN-MAX`` or ``auto`` (1 to the processors this process may use).

        Raises:
            UsageError: It is none of them.
        """
        if text == "auto":
            return WorkerBounds(1, min(cores or usable_cores(), MOST))
        found = _FORM.fullmatch(text)
        if found:
            least, most = int(found[1]), int(found[2] or found[1])
            if 1 <= least <= most <= MOST:
                return WorkerBounds(least, most)
        raise UsageError(
            f"{text!r} is no number of workers", hint=f"2, auto, or from-to such as 1-4 (at most {MOST})"
        )


def usable_cores() -> int:
    """Processors this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Not on this system.
        return os.cpu_count() or 1
