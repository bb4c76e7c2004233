"""Versions that could not be loaded: why, and when it is worth another try."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops_box.errors import BoxError

Key = tuple[str, int]
# The first wait; each further failure doubles it. Not only files heal: memory may have been short.
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0


@dataclass(frozen=True)
class _Refusal:
    error: BoxError
    state: tuple[object, ...]
    at_s: float
    failures: int


class Refusals:
    """Remembers failed loads, so that a broken version is not read again for every request. Thread-safe.

    Args:
        files: The files that a version is loaded from; when one of them changes, its refusal is over.
    """

    def __init__(
        self, files: Callable[[Key], Sequence[Path]], *, monotonic_s: Callable[[], float] = time.monotonic
    ):
        self._files = files
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._known: dict[Key, _Refusal] = {}

    def note(self, key: Key, error: BoxError) -> None:
        """It failed again."""
        state, now_s = self._state(key), self._monotonic_s()
        with self._lock:
            before = self._known.get(key)
            is_same = before is not None and before.state == state
            if before is not None and is_same and now_s - before.at_s < FIRST_WAIT_S:
                return  # Told by another who waited for the same load.
            failures = before.failures + 1 if before is not None and is_same else 1
            self._known[key] = _Refusal(_copy(error), state, now_s, failures)

    def standing(self, key: Key, *, asked: bool = False) -> BoxError | None:
        """Why it is not worth a try now; ``None`` when it is.

        Args:
            asked: Somebody wants this very version: one try a second.
        """
        found = self._known.get(key)
        if found is None or self._state(key) != found.state:
            return None
        wait_s = FIRST_WAIT_S if asked else min(FIRST_WAIT_S * 2.0 ** (found.failures - 1), LONGEST_WAIT_S)
        return _copy(found.error) if self._monotonic_s() - found.at_s < wait_s else None

    def is_known(self, key: Key) -> bool:
        return key in self._known

    def forget(self, key: Key) -> None:
        """It was loaded, or nobody wants it any more."""
        with self._lock:
            self._known.pop(key, None)

    def _state(self, key: Key) -> tuple[object, ...]:
        return tuple(_stamp(path) for path in self._files(key))


def _copy(error: BoxError) -> BoxError:
    """Without its traceback, which would keep the bytes of the model."""
    return type(error)(error.message, hint=error.hint, details=error.details)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
