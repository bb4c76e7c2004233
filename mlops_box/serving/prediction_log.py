"""The prediction log of one process: append-only, written before the answer leaves.

Durability: a record is in the kernel when :meth:`PredictionLog.write` returns, so ``kill -9`` loses nothing that was
answered; a background thread calls fsync about once a second, so a power cut loses at most the last second. An fsync
error is never retried (the kernel may have dropped the pages, "Can applications recover from fsync failures?",
ATC'20): the owner is told and is to stop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlops_box.clock import Clock, isoformat
from mlops_box.db import Database
from mlops_box.errors import BoxError, StorageError
from mlops_box.files import sync_folder
from mlops_box.ids import new_id
from mlops_box.runs import this_process
from mlops_box.serving.records import PredictionIds
from mlops_box.serving.segment_lines import header_line

log = logging.getLogger(__name__)

SYNC_EVERY_S = 1.0
POLL_EVERY_S = 0.1
# With less room a disk counts as full still, though a line would fit.
ROOM_BYTES = 1024 * 1024


@dataclass(frozen=True)
class RotationPolicy:
    """A segment is closed when it is this large or this old (and holds a record)."""

    max_bytes: int = 32 * 1024 * 1024
    max_age_s: float = 3600.0


class _Segment:
    """An open file that only grows."""

    def __init__(self, segment_id: str, path: Path, opened_s: float):
        self.id = segment_id
        self.path = path
        self.opened_s = opened_s
        self.next_number = 0
        header = header_line(segment_id)
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            os.write(self.descriptor, header)
            os.fsync(self.descriptor)
        except OSError:
            os.close(self.descriptor)
            path.unlink(missing_ok=True)
            raise
        self.size = self.header_size = len(header)
        self.synced_size = self.size
        self.broken = False

    @property
    def is_empty(self) -> bool:
        return self.size == self.header_size

    def append(self, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):
                written += os.write(self.descriptor, data[written:] if written else data)
        except OSError:
            # What was half written must not stand in front of the next line.
            try:
                os.ftruncate(self.descriptor, self.size)
            except OSError:
                self.broken = True
            raise
        self.size += written


class PredictionLog:
    """Appends records to a segment of its own, registered in box.db before the first record.

    Thread-safe. :meth:`tick` does what takes time (fsync, rotation, registering); :meth:`start` runs it in a thread,
    so that the request path never waits for box.db.

    Args:
        folder: Where segments lie (``home.predictions``).
        on_sync_error: Called once when fsync failed; the process must not go on as if its log were safe.
    """

    def __init__(
        self,
        folder: Path,
        db: Database,
        clock: Clock,
        *,
        rotation: RotationPolicy | None = None,
        on_sync_error: Callable[[OSError], None] | None = None,
    ):
        self._folder = folder
        self._db = db
        self._clock = clock
        self._rotation = rotation or RotationPolicy()
        self._on_sync_error = on_sync_error
        self._lock = threading.Lock()
        self._maintenance = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: StorageError | None = None
        self._last_sync_s = clock.monotonic_s()
        self._seen_version: int | None = None
        self._retired: list[_Segment] = []
        self._segment = self._open_segment()

    @property
    def segment_id(self) -> str:
        return self._segment.id

    @property
    def failure(self) -> StorageError | None:
        """Why the last write failed; ``None`` once one succeeded again, or there is room again."""
        return self._failure

    def write(self, build: Callable[[Callable[[int], PredictionIds]], bytes]) -> None:
        """Append lines by one write call.

        Args:
            build: Called with a function that hands out ``n`` fresh prediction ids; returns whole lines. The ids
                belong to the segment the lines go to, hence the turn.

        Raises:
            StorageError: Nothing was appended; the caller must not answer as if it were.
        """
        with self._lock:
            segment = self._segment
            data = build(self._take_ids)
            try:
                if segment.broken:
                    raise OSError("the segment's end is damaged; it is replaced within a second")
                if segment.is_empty:
                    segment.opened_s = self._clock.monotonic_s()
                segment.append(data)
            except OSError as error:
                self._failure = StorageError(
                    f"the prediction log cannot be written: {error.strerror or error}", hint="free some space"
                )
                raise self._failure from error
            self._failure = None

    def _take_ids(self, count: int) -> PredictionIds:
        segment = self._segment
        first = segment.next_number
        segment.next_number = first + count
        return PredictionIds(segment.id, first, count)

    def start(self) -> None:
        """Run :meth:`tick` every 100 ms in a daemon thread until :meth:`close`."""
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def tick(self) -> None:
        """Sync when due; rotate when the segment is full, old, damaged, or asked to by ``segments.rotate``; after a failed
        write, find out whether writing is possible again."""
        with self._maintenance:
            if self._failure is not None:
                self._probe()
            if self._clock.monotonic_s() - self._last_sync_s >= SYNC_EVERY_S:
                self._sync()
            if self._asked_to_rotate() or self._is_due():
                self._rotate()
            self._finish_retired()

    def close(self) -> None:
        """Sync, close and mark the segment closed; the log cannot be written afterwards."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with self._maintenance, self._lock:
            self._retired.append(self._segment)
            self._finish_retired()

    def _run(self) -> None:
        told = ""
        while not self._stop.wait(POLL_EVERY_S):
            try:
                self.tick()
                told = ""
            except (BoxError, OSError) as error:
                # A busy database or a full disk passes; the segment that is open goes on being written meanwhile.
                if str(error) != told:
                    log.error("prediction log: %s", error)
                told = str(error)

    def _probe(self) -> None:
        """Write a line that says nothing: who is told by ``/readyz`` to send no requests would never find out."""
        place = os.statvfs(self._folder)
        if place.f_bavail * place.f_frsize < ROOM_BYTES:
            return
        with self._lock:
            if self._segment.broken:
                return
            with contextlib.suppress(OSError):
                self._segment.append(header_line(self._segment.id))
                self._failure = None

    def _is_due(self) -> bool:
        segment = self._segment
        if segment.is_empty:
            return segment.broken
        age_s = self._clock.monotonic_s() - segment.opened_s
        full = segment.size >= self._rotation.max_bytes
        return segment.broken or full or age_s >= self._rotation.max_age_s

    def _asked_to_rotate(self) -> bool:
        version = self._db.data_version()
        if version == self._seen_version:
            return False
        row = self._db.one("SELECT rotate FROM segments WHERE id = ?", (self._segment.id,))
        if row and row["rotate"] and self._segment.is_empty:
            with self._db.write() as tx:
                tx.execute("UPDATE segments SET rotate = 0 WHERE id = ?", (self._segment.id,))
            return False
        if row and row["rotate"]:
            return True
        self._seen_version = version
        return False

    def _rotate(self) -> None:
        fresh = self._open_segment()
        with self._lock:
            full, self._segment = self._segment, fresh
        self._retired.append(full)

    def _open_segment(self) -> _Segment:
        segment_id = new_id(self._clock)
        owner = this_process()
        path = self._folder / f"{segment_id}.log"
        try:
            segment = _Segment(segment_id, path, self._clock.monotonic_s())
            sync_folder(self._folder)
        except OSError as error:
            raise StorageError(
                f"the prediction log cannot be opened in {self._folder}: {error.strerror or error}",
                hint="free some space, and see that the folder may be written to",
            ) from error
        try:
            with self._db.write() as tx:
                tx.insert(
                    "segments",
                    {
                        "id": segment_id, "path": path.name, "state": "open",
                        "pid": owner.pid, "pid_started": owner.pid_started, "boot_id": owner.boot_id,
                        "opened_at": isoformat(self._clock.now()),
                    },
                )  # fmt: skip
        except BoxError:
            os.close(segment.descriptor)
            path.unlink(missing_ok=True)
            raise
        return segment

    def _finish_retired(self) -> None:
        """Close what is no longer written; a segment stays retired until box.db says so."""
        while self._retired:
            segment = self._retired[0]
            self._sync_segment(segment)
            with self._db.write() as tx:
                tx.execute(
                    "UPDATE segments SET state = 'closed', rotate = 0, closed_at = ? WHERE id = ? AND state = 'open'",
                    (isoformat(self._clock.now()), segment.id),
                )
            del self._retired[0]
            with contextlib.suppress(OSError):
                os.close(segment.descriptor)

    def _sync(self) -> None:
        self._last_sync_s = self._clock.monotonic_s()
        self._sync_segment(self._segment)

    def _sync_segment(self, segment: _Segment) -> None:
        size = segment.size
        if size == segment.synced_size:
            return
        try:
            os.fsync(segment.descriptor)
        except OSError as error:
            log.critical("the prediction log could not be synced: %s", error)
            if self._on_sync_error is not None:
                self._on_sync_error(error)
            raise
        segment.synced_size = size
