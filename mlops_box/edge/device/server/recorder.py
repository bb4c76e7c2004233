"""Between requests and the log: what was answered is queued, counted into windows and written in batches by one thread.

An answer is given before its record is written, which happens within :data:`EVERY_S` seconds or :data:`BATCH` records,
whatever comes first. So the death of the process loses at most the answers of its last second (the last 200 at high
rates), and up to :data:`CHECKPOINT_S` seconds of the histograms. Ground truth is written before it is acknowledged.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from typing import Any, Dict, Iterator, NamedTuple, Sequence, Union

import numpy as np

from mlops_box.clock import Clock
from mlops_box.errors import StorageError
from mlops_box.json_bytes import dumps
from mlops_box.models.encode import Tensors, concatenate
from mlops_box.serving.answers import Answers, joined
from mlops_box.serving.columns import Columns
from mlops_box.serving.records import PredictionIds, Truth

from ..log import PREDICTION, TRUTH, WINDOW, Entry, RingLog
from .histogram import Histograms, window_us
from .journal import tell, tell_failure
from .model import Served
from .moments import event_times, utc_text

BATCH = 200
EVERY_S = 1.0
CHECKPOINT_S = 10.0
MAX_QUEUED = 20_000
"""Answers that wait while the disk cannot be written; beyond it the oldest are given up and counted."""

_OPEN_WINDOWS = "open_windows"
# The year 9999 has no next day.
_LATEST_US = 253_370_764_800_000_000
Rows = Union[Sequence[Dict[str, Any]], Columns]


class Answered(NamedTuple):
    """One request that was answered.

    Attributes:
        at_us: When, by the device's clock: microseconds since 1970.
        mono_us: When, by the monotonic clock.
    """

    served: Served
    rows: Rows
    tensors: Tensors
    answers: Answers
    ids: PredictionIds
    at_us: int
    mono_us: int
    latency_ms: float


class _Window(NamedTuple):
    """Of one version."""

    digest: str
    start_us: int
    by: str


class Recorder:
    """Writes the log; :meth:`answered` and :meth:`truths` are for any thread.

    Args:
        boot: Which life of the device this is.

    Attributes:
        unlogged: Answers that were given up since the disk could not be written.
        problem: Why the disk cannot be written; ``None`` while it can.
    """

    def __init__(self, ring: RingLog, boot: str, histograms: Histograms, clock: Clock) -> None:
        self._ring = ring
        self._boot = boot
        self._histograms = histograms
        self._clock = clock
        self._queue: deque[Answered] = deque()
        self._queued_rows = 0
        self._unwritten: list[Entry] = []
        self._full = threading.Event()
        self._stopping = False
        self._writing = threading.Lock()
        self._checkpoint_s = clock.monotonic_s()
        self._thread: threading.Thread | None = None
        self.unlogged = 0
        self.problem: str | None = None

    def start(self) -> None:
        """Write what a process that died had counted, then begin."""
        left = json.loads(self._ring.fact(_OPEN_WINDOWS) or "{}")
        if left.get("windows"):
            # Of that process's boot, as the rows it counted.
            told = (left["boot"], left["mono_us"], left["at_us"], WINDOW)
            self._unwritten = [Entry(*told, body) for body in left["windows"]]
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def now_us(self) -> tuple[int, int]:
        """The wall clock and the monotonic clock, in microseconds."""
        return round(self._clock.now().timestamp() * 1e6), round(self._clock.monotonic_s() * 1e6)

    def answered(self, item: Answered) -> None:
        """Queue what was answered."""
        self._queue.append(item)
        self._queued_rows += len(item.ids)  # a hint for when to write; to lose a count does no harm
        if self._queued_rows >= BATCH:
            self._full.set()

    def truths(self, served: Served, truths: Sequence[Truth]) -> None:
        """Write ground truth.

        Raises:
            StorageError: It was not stored.
        """
        at_us, mono_us = self.now_us()
        entries = []
        for truth in truths:
            value = truth.number if served.signature.classes is None else truth.text
            body = dumps({"id": truth.id, "value": value, "model": served.model}).decode()
            entries.append(Entry(self._boot, mono_us, at_us, TRUTH, body))
        try:
            self._ring.append(entries)
        except OSError as error:
            raise StorageError(f"the log cannot be written: {error}", hint="free some space") from error

    def flush(self, last: bool = False) -> None:
        """Write all that waits now.

        Args:
            last: The open windows too: the process is about to end.
        """
        with self._writing:
            self._queued_rows = 0
            self._full.clear()
            is_late = bool(self._unwritten)
            entries = self._unwritten + self._drained()
            now_s = self._clock.monotonic_s()
            at_us, mono_us = self.now_us()
            windows = self._histograms.due(now_s, every=last)
            entries += [Entry(self._boot, mono_us, at_us, WINDOW, body) for body in windows]
            facts: dict[str, str] = {}
            # With every window that is written, in one transaction: none is told twice by who comes after.
            if windows or is_late or last or now_s - self._checkpoint_s >= CHECKPOINT_S:
                facts[_OPEN_WINDOWS] = json.dumps(
                    {
                        "boot": self._boot,
                        "mono_us": mono_us,
                        "at_us": at_us,
                        "windows": self._histograms.checkpoint(),
                    }
                )
                self._checkpoint_s = now_s
            self._write(entries, facts)

    def stop(self) -> None:
        """Write everything and end."""
        self._stopping = True
        self._full.set()
        if self._thread is not None:
            self._thread.join()
        self.flush(last=True)

    def _run(self) -> None:
        while not self._stopping:
            self._full.wait(EVERY_S)
            try:
                self.flush()
            except Exception as error:  # noqa: BLE001 - the thread's boundary: the next batch may be better
                tell_failure(f"a batch was not logged: {error!r}")

    def _write(self, entries: list[Entry], facts: dict[str, str]) -> None:
        if not entries and not facts:
            return
        try:
            self._ring.append(entries, facts)
        except OSError as error:
            if self.problem is None:
                tell(f"the log cannot be written: {error}")
            self.problem = f"the log cannot be written: {error}"
            given_up = max(0, len(entries) - MAX_QUEUED)
            self.unlogged += given_up
            self._unwritten = entries[given_up:]
            return
        self.problem = None
        self._unwritten = []

    def _drained(self) -> list[Entry]:
        """The entries of all that waits; it is counted into its windows."""
        entries: list[Entry] = []
        parts: dict[_Window, list[tuple[Tensors, Answers]]] = {}
        served: dict[str, Served] = {}
        for _ in range(len(self._queue)):
            item = self._queue.popleft()
            times = event_times(item.rows, item.served.contract.rules.time_column)
            entries += self._entries(item, times)
            served[item.served.digest] = item.served
            for window, part in _by_window(item, times):
                parts.setdefault(window, []).append(part)
        now_s = self._clock.monotonic_s()
        for window, found in parts.items():
            # All rows of a window are counted at once, which costs hardly more than counting one.
            tensors = concatenate([tensors for tensors, _ in found])
            answers = joined([answers for _, answers in found])
            self._histograms.add(served[window.digest], window.start_us, window.by, tensors, answers, now_s)
        return entries

    def _entries(self, item: Answered, times: Sequence[int | None]) -> list[Entry]:
        served, answers = item.served, item.answers
        logged, sampled = served.log_view.of(item.rows, item.ids)
        rows = _row_values(logged, served) if sampled else [None] * len(item.ids)
        entries = []
        for index, (id_, row, time_us) in enumerate(zip(item.ids.texts(), rows, times)):
            body: dict[str, Any] = {
                "id": id_,
                "model": served.model,
                "number": served.number,
                "row": row,
                "latency_ms": round(item.latency_ms, 3),
                "time": None if time_us is None else utc_text(time_us),
            }
            if answers.labels is None:
                body["prediction"] = answers.predictions[index]
            else:
                body["label"] = answers.labels[index]
                body["probability"] = answers.probabilities[index] if answers.probabilities else None
            entries.append(
                Entry(self._boot, item.mono_us, item.at_us, PREDICTION, dumps(body, default=str).decode())
            )
        return entries


def _by_window(
    item: Answered, times: Sequence[int | None]
) -> Iterator[tuple[_Window, tuple[Tensors, Answers]]]:
    """The rows of a request by the windows they belong to: one, mostly."""
    width_us = window_us(item.served)
    rows: dict[_Window, list[int]] = {}
    for index, time_us in enumerate(times):
        # What nobody can have measured yet (or a window's end could not be written of) counts by our clock.
        is_told = time_us is not None and 0 <= time_us < _LATEST_US
        moment_us, by = (time_us, "event") if is_told else (item.at_us, "clock")
        start_us = (moment_us or 0) // width_us * width_us
        rows.setdefault(_Window(item.served.digest, start_us, by), []).append(index)
    if len(rows) == 1:
        yield next(iter(rows)), (item.tensors, item.answers)
        return
    for window, places in rows.items():
        yield window, (item.tensors.take(np.array(places)), item.answers.take(places))


def _row_values(rows: Rows, served: Served) -> Sequence[Any]:
    """Rows as JSON objects, however they came."""
    if not isinstance(rows, Columns):
        return rows
    if rows.matrix is not None:
        names = [feature.name for feature in served.signature.features]
        return [dict(zip(names, values)) for values in rows.matrix.tolist()]
    columns = [_plain(values) for values in rows.values.values()]
    return [dict(zip(rows.values, values)) for values in zip(*columns)] or [{}] * rows.rows


def _plain(values: Any) -> list[Any]:
    if values.dtype.kind == "M":
        return [str(value) for value in values]
    found: list[Any] = values.tolist()
    return found
