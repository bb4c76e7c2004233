"""The versions in memory: each loaded once, kept while it serves, and afterwards while there is room."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass

from mlops_box.serving.memory import give_back, resident_bytes
from mlops_box.serving.slot import Slot

Key = tuple[str, int]
# What a loaded version takes at least, whatever was measured.
_LEAST_BYTES = 256 * 1024
# Several loads at once cannot be told apart; the worst that was measured, for forests, is 4.4 times the file.
_TIMES_FILE = 5


@dataclass
class _Entry:
    slot: Slot
    size_bytes: int
    used_s: float


class SlotPool:
    """Loaded versions by model and number. Thread-safe; :meth:`find` never waits.

    Args:
        load: Loads a version; gives it and the size of its file.
        budget_bytes: What versions that do not serve may take together.
    """

    def __init__(
        self,
        load: Callable[[Key], tuple[Slot, int]],
        *,
        budget_bytes: int,
        monotonic_s: Callable[[], float] = time.monotonic,
    ):
        self._load = load
        self._budget_bytes = budget_bytes
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._entries: dict[Key, _Entry] = {}
        self._loading: dict[Key, Future[Slot]] = {}

    @property
    def keys(self) -> set[Key]:
        return set(self._entries)

    def size_bytes(self, key: Key) -> int:
        """What a loaded version takes, as measured when it was loaded; 0 when it is not in memory."""
        entry = self._entries.get(key)
        return entry.size_bytes if entry is not None else 0

    def find(self, key: Key) -> Slot | None:
        """The version if it is in memory; counts as a use."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        entry.used_s = self._monotonic_s()
        return entry.slot

    def take(self, key: Key) -> Slot:
        """The version, loaded now when it is not in memory; who asks meanwhile waits for the same load.

        Raises:
            BoxError: What loading raises.
        """
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                entry.used_s = self._monotonic_s()
                return entry.slot
            under_way = self._loading.get(key)
            if under_way is None:
                mine = self._loading[key] = Future()
                alone = len(self._loading) == 1
        if under_way is not None:
            return under_way.result()
        try:
            slot, size_bytes = self._measured(key, alone=alone)
        except BaseException as error:
            with self._lock:
                del self._loading[key]
            mine.set_exception(error)
            raise
        with self._lock:
            self._entries[key] = _Entry(slot, size_bytes, self._monotonic_s())
            del self._loading[key]
        mine.set_result(slot)
        return slot

    def replace(self, key: Key, slot: Slot) -> None:
        """The same loaded model behind another declaration."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                entry.slot = slot

    def shrink(self, *, serving: Collection[Key], undo: Collection[Key]) -> list[Key]:
        """Let go of what there is no room for, the longest unused first, those in ``undo`` last; returns what went.

        Args:
            serving: Never let go, and not counted.
            undo: The versions that served before.
        """
        with self._lock:
            spare = [(key, entry) for key, entry in self._entries.items() if key not in serving]
            spare.sort(key=lambda item: (item[0] in undo, item[1].used_s))
            too_much = sum(entry.size_bytes for _, entry in spare) - self._budget_bytes
            gone: list[Key] = []
            for key, entry in spare:
                if too_much <= 0:
                    break
                too_much -= entry.size_bytes
                gone.append(key)
                del self._entries[key]
        return gone

    def _measured(self, key: Key, *, alone: bool) -> tuple[Slot, int]:
        give_back()
        before = resident_bytes()
        slot, file_bytes = self._load(key)
        give_back()
        grown = resident_bytes() - before
        with self._lock:
            alone = alone and len(self._loading) == 1
        measured = grown if alone and grown else file_bytes * _TIMES_FILE
        return slot, max(measured, file_bytes, _LEAST_BYTES)
