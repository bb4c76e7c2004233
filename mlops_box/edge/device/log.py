"""What a device remembers while it is away: predictions, ground truth and histograms, in a SQLite file of bounded size.

Records are kept in segments. When the file grows beyond its bound the oldest segment goes: its predictions and truths are
dropped and counted, its histograms (a few kilobytes an hour) stay until they alone take a quarter of the bound. What was
acknowledged by the box is deleted and counts as neither.

A transaction that :meth:`RingLog.append` has returned from survives the death of the process by any signal. After a power
cut the file is whole, but transactions since the last checkpoint of its write-ahead log may be missing (SQLite's
``synchronous = NORMAL``: a commit costs 20-40 µs a record in batches, not the 2.6 ms of an fsync).
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Sequence

PREDICTION, TRUTH, WINDOW = "prediction", "truth", "window"
SEGMENTS = 16
"""The file's bound is about this many segments."""

_WINDOW_SHARE = 0.25
_LEAST_BYTES = 256 * 1024
_WAIT_S = 10.0
_PAGE_BYTES = 4096
# A record's row beside its body: rowid, headers, the other columns.
_ROW_BYTES = 80
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    segment INTEGER NOT NULL,
    boot TEXT NOT NULL,
    mono_us INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('prediction', 'truth', 'window')),
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS records_by_segment ON records (segment, kind);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_COLUMNS = "boot, mono_us, at_us, kind, body"


@dataclass(frozen=True)
class Entry:
    """One record.

    ``boot`` and ``mono_us`` say when it was made by a clock that nobody sets, ``at_us`` (microseconds since 1970, UTC) by
    the device's own, which may be wrong. ``body`` is JSON. ``seq`` grows and is never used twice; 0 before it is stored.
    """

    boot: str
    mono_us: int
    at_us: int
    kind: str
    body: str
    seq: int = 0


class RingLog:
    """The log file; for several threads and processes at once.

    Args:
        path: Made with mode 0600 where it is not there yet.
        max_bytes: What the file may take on the disk, its write-ahead log (up to 4 MB) aside; at least 256 KiB.

    Raises:
        OSError: It cannot be opened, or is no log.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._max_bytes = max(max_bytes, _LEAST_BYTES)
        self._lock = threading.Lock()
        with _as_os_errors(path):
            path.touch(mode=0o600)
            self._db = sqlite3.connect(
                str(path), timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute("PRAGMA journal_size_limit = 4194304")
            # KiB: records are written once and read once.
            self._db.execute("PRAGMA cache_size = -256")
            self._db.executescript(_SCHEMA)
            # A segment of its own: to weigh the last one would be to read it.
            last = self._db.execute("SELECT coalesce(max(segment), 0) FROM records").fetchone()[0]
            self._segment, self._filled = int(last) + 1, 0
        self._path = path

    def append(self, entries: Sequence[Entry], facts: dict[str, str] | None = None) -> None:
        """Store records, and facts beside them, in one transaction; make room first where there is none.

        Raises:
            OSError: The disk is full or broken; nothing of it was stored.
        """
        with self._lock, _as_os_errors(self._path), self._transaction():
            rows = []
            for entry in entries:
                if self._filled * SEGMENTS >= self._max_bytes:
                    self._segment, self._filled = self._segment + 1, 0
                self._filled += len(entry.body) + _ROW_BYTES
                rows.append((self._segment, entry.boot, entry.mono_us, entry.at_us, entry.kind, entry.body))
            self._db.executemany(f"INSERT INTO records (segment, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", rows)
            for name, value in (facts or {}).items():
                self._set(name, value)
            self._make_room()

    def read(self, after_seq: int, max_bytes: int) -> list[Entry]:
        """The next records after one, oldest first: as many as ``max_bytes`` of bodies hold, at least one."""
        found: list[Entry] = []
        total = 0
        with self._lock, _as_os_errors(self._path):
            cursor = self._db.execute(
                f"SELECT {_COLUMNS}, seq FROM records WHERE seq > ? ORDER BY seq", (after_seq,)
            )
            for row in cursor:
                total += len(row[4])
                if found and total > max_bytes:
                    break
                found.append(Entry(*row))
            cursor.close()
        return found

    def acknowledge(self, through_seq: int) -> int:
        """Delete what the box has, up to and with that record; returns how many records went."""
        with self._lock, _as_os_errors(self._path), self._transaction():
            gone = self._db.execute("DELETE FROM records WHERE seq <= ?", (through_seq,)).rowcount
        return int(gone)

    @property
    def dropped(self) -> dict[str, int]:
        """How many records were dropped for want of room since the file was made, by kind."""
        with self._lock, _as_os_errors(self._path):
            return {kind: self._count(kind) for kind in (PREDICTION, TRUTH, WINDOW)}

    @property
    def backlog(self) -> int:
        """Records that the box has not acknowledged yet."""
        with self._lock, _as_os_errors(self._path):
            return int(self._db.execute("SELECT count(*) FROM records").fetchone()[0])

    @property
    def used_bytes(self) -> int:
        """What the records take in the file."""
        with self._lock, _as_os_errors(self._path):
            return self._used()

    def fact(self, name: str) -> str | None:
        """A fact that was stored with records."""
        with self._lock, _as_os_errors(self._path):
            return self._fact(name)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        before = self._segment, self._filled
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._segment, self._filled = before
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _make_room(self) -> None:
        """Drop the oldest segments, then the oldest histograms, until the file is within its bound again."""
        if self._used() <= self._max_bytes:
            return
        while self._used() > self._max_bytes:
            oldest = self._db.execute(
                "SELECT min(segment) FROM records WHERE kind <> 'window' AND segment < ?", (self._segment,)
            ).fetchone()[0]
            if oldest is None:
                break
            self._drop("kind <> 'window' AND segment = ?", oldest)
        room = self._max_bytes * (_WINDOW_SHARE if self._has_rows() else 1.0)
        while self._window_bytes() > room:
            oldest = self._db.execute("SELECT min(seq) FROM records WHERE kind = 'window'").fetchone()[0]
            self._drop("kind = 'window' AND seq = ?", oldest)

    def _drop(self, where: str, value: int) -> None:
        counted = self._db.execute(
            f"SELECT kind, count(*) FROM records WHERE {where} GROUP BY kind", (value,)
        ).fetchall()
        for kind, count in counted:
            self._set(f"dropped_{kind}", str(self._count(kind) + count))
        self._db.execute(f"DELETE FROM records WHERE {where}", (value,))

    def _used(self) -> int:
        pages = self._db.execute("PRAGMA page_count").fetchone()[0]
        free = self._db.execute("PRAGMA freelist_count").fetchone()[0]
        return int(pages - free) * _PAGE_BYTES

    def _window_bytes(self) -> int:
        sql = "SELECT coalesce(sum(length(body) + ?), 0) FROM records WHERE kind = 'window'"
        return int(self._db.execute(sql, (_ROW_BYTES,)).fetchone()[0])

    def _has_rows(self) -> bool:
        found = self._db.execute("SELECT 1 FROM records WHERE kind <> 'window' LIMIT 1").fetchone()
        return found is not None

    def _count(self, kind: str) -> int:
        return int(self._fact(f"dropped_{kind}") or 0)

    def _fact(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def _set(self, name: str, value: str) -> None:
        self._db.execute(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )


@contextlib.contextmanager
def _as_os_errors(path: Path) -> Iterator[None]:
    """A device's callers know one kind of error of a disk."""
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(f"{path}: {error}") from error
