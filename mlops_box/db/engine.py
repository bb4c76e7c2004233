"""One SQLite file, shared by processes and threads."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pysqlite3.dbapi2 as sqlite

from mlops_box.clock import Clock, SystemClock
from mlops_box.db.migrate import migrate
from mlops_box.errors import BoxError, BusyError, IntegrityError, StorageError

if TYPE_CHECKING:
    import sqlite_utils

Row = dict[str, Any]

MINIMUM_SQLITE = (3, 51, 3)
BUSY_TIMEOUT_MS = 10_000

_DAMAGED = {"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT"}
_TAKEN = {"SQLITE_BUSY", "SQLITE_LOCKED"}
_STORAGE = {
    "SQLITE_FULL",
    "SQLITE_READONLY",
    "SQLITE_IOERR",
    "SQLITE_CANTOPEN",
    "SQLITE_PERM",
    "SQLITE_NOLFS",
}
# The online backup reports these without a code.
_NAMELESS = {
    "database or disk is full": "SQLITE_FULL",
    "database is locked": "SQLITE_BUSY",
    "database disk image is malformed": "SQLITE_CORRUPT",
    "disk I/O error": "SQLITE_IOERR",
    "attempt to write a readonly database": "SQLITE_READONLY",
}


def sqlite_version() -> tuple[int, ...]:
    """The version of the SQLite library in use."""
    return tuple(int(part) for part in sqlite.sqlite_version.split("."))


class Transaction:
    """An open ``BEGIN IMMEDIATE``: whatever is done through it is committed whole, or not at all."""

    def __init__(self, connection: sqlite_utils.Database):
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> int:
        """Run one statement; returns the number of rows it changed (-1 where SQLite does not say)."""
        return int(self._connection.conn.execute(sql, parameters).rowcount)

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        """Run one statement for every row of parameters; returns the number of rows changed."""
        return int(self._connection.conn.executemany(sql, rows).rowcount)

    def read(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Row]:
        return _rows(self._connection.conn.execute(sql, parameters))

    def one(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> Row | None:
        rows = self.read(sql, parameters)
        return rows[0] if rows else None

    def insert(self, table: str, row: Row, *, ignore: bool = False, replace: bool = False) -> None:
        """Insert one row; ``ignore`` keeps an existing row of that key, ``replace`` overwrites it."""
        self._connection.table(table).insert(row, ignore=ignore, replace=replace)


class _Handle:
    """One thread's connection; closed when the thread that owns it is gone."""

    def __init__(self, raw: Any):
        self.raw = raw
        self.pid = os.getpid()
        weakref.finalize(self, _close_in, self.pid, raw)

    @cached_property
    def writer(self) -> sqlite_utils.Database:
        # It brings numpy along, 0.16 s: whoever only reads (the terminal, a command that shows) does without.
        import sqlite_utils

        return sqlite_utils.Database(self.raw)


def _close_in(pid: int, raw: Any) -> None:
    # A forked child must not touch a connection of its parent, not even to close it.
    if os.getpid() == pid:
        raw.close()


class Database:
    """box.db. Connections are per thread; every write goes through :meth:`write`.

    Args:
        path: The file; made, with its schema, when absent.
        clock: Stamps the record of migrations.
        read_only: Never creates, migrates or writes (the TUI, the inference server's routing).

    Raises:
        StorageError: The file cannot be opened or written.
        IntegrityError: SQLite is too old, the file is no database, or a newer mlops-box made it.
    """

    def __init__(self, path: Path, *, clock: Clock | None = None, read_only: bool = False):
        if sqlite_version() < MINIMUM_SQLITE:
            raise IntegrityError(
                f"SQLite {sqlite.sqlite_version} can corrupt a shared database; 3.51.3 or newer is needed",
                hint="pip install 'pysqlite3>=0.6.1'",
            )
        self.path = path
        self.read_only = read_only
        self._local = threading.local()
        self._handles: weakref.WeakSet[_Handle] = weakref.WeakSet()
        self._inherited: list[_Handle] = []
        self._lock = threading.Lock()
        with translated(path):
            if not read_only:
                _make_private(path)
            connection = self._connection()
            if not read_only:
                _use_wal(connection)
            self._bring_up(connection, clock or SystemClock())

    def _bring_up(self, raw: Any, clock: Clock) -> None:
        """Bring the file up to this program's schema."""
        migrate(raw, path=self.path, clock=clock, read_only=self.read_only)

    def _connection(self) -> Any:
        return self._handle().raw

    def _handle(self) -> _Handle:
        handle: _Handle | None = getattr(self._local, "handle", None)
        if handle is not None and handle.pid == os.getpid():
            return handle
        if handle is not None:
            self._inherited.append(handle)
        mode = "ro" if self.read_only else "rwc"
        # Percent-encoding keeps '?' and '#' in a path from being read as part of the URI.
        location = f"{self.path.absolute().as_uri()}?mode={mode}"
        if self.read_only and _on_read_only_disk(self.path):
            location += "&immutable=1"
        raw = sqlite.connect(
            location, uri=True, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False
        )
        raw.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        raw.execute("PRAGMA synchronous=FULL")
        raw.execute("PRAGMA foreign_keys=ON")
        raw.execute("PRAGMA trusted_schema=OFF")
        raw.execute(f"PRAGMA journal_size_limit={64 * 1024 * 1024}")
        handle = _Handle(raw)
        self._local.handle = handle
        with self._lock:
            self._handles.add(handle)
        return handle

    def read(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Row]:
        """All rows of one query, as dicts."""
        with translated(self.path):
            return _rows(self._connection().execute(sql, parameters))

    def one(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> Row | None:
        """The first row of one query, or ``None``."""
        rows = self.read(sql, parameters)
        return rows[0] if rows else None

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """A write transaction; keep it short. Nested use in one thread becomes a part of the outer transaction, which
        is undone by itself when its block fails.

        ``BEGIN IMMEDIATE`` takes the write lock before anything is read: a deferred transaction that reads
        and then writes fails at once when another process wrote in between.
        """
        with translated(self.path):
            handle = self._handle()
            raw, connection = handle.raw, handle.writer
            if raw.in_transaction:
                with connection.atomic():
                    yield Transaction(connection)
                return
            raw.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(connection)
                raw.execute("COMMIT")
            except BaseException:
                if raw.in_transaction:
                    raw.execute("ROLLBACK")
                raise

    def data_version(self) -> int:
        """Changes when another connection has committed: cheap to poll (``PRAGMA data_version``)."""
        with translated(self.path):
            return int(self._connection().execute("PRAGMA data_version").fetchone()[0])

    def check(self) -> list[str]:
        """What ``PRAGMA integrity_check`` finds; empty when all is well."""
        found = [str(row["integrity_check"]) for row in self.read("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found

    def backup(self, target: Path) -> None:
        """A consistent copy while others read and write (SQLite's online backup)."""
        with translated(target):
            _make_private(target)
            with contextlib.closing(sqlite.connect(str(target))) as copy:
                copy.execute("PRAGMA synchronous=FULL")
                self._connection().backup(copy)

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for handle in list(self._handles):
                _close_in(handle.pid, handle.raw)
            self._handles.clear()
        self._local = threading.local()


def _rows(cursor: Any) -> list[Row]:
    if cursor.description is None:
        return []
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, values, strict=True)) for values in cursor]


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's own errors as ours."""
    try:
        yield
    except BoxError:
        raise
    except sqlite.Error as error:
        problem = _explained(error, path)
        if problem is None:
            raise
        raise problem from error


def _explained(error: Any, path: Path) -> BoxError | None:
    """Our error for a failure of disk, lock or file; ``None`` for a mistake of ours (wrong SQL, broken constraint)."""
    name = "_".join(str(getattr(error, "sqlite_errorname", "")).split("_")[:2]) or _NAMELESS.get(
        str(error), ""
    )
    if name in _DAMAGED:
        return IntegrityError(f"{path} is damaged: {error}", hint="restore it from a backup")
    if name in _TAKEN:
        return BusyError(
            f"{path} has been held by another process for over {BUSY_TIMEOUT_MS // 1000} seconds",
            hint="try again; mlops-box status shows what runs",
        )
    if name in _STORAGE:
        hint = (
            "free some space" if name == "SQLITE_FULL" else "see that the folder exists and may be written to"
        )
        return StorageError(f"{path}: {error}", hint=hint)
    return None


def _make_private(path: Path) -> None:
    """Make the file before SQLite does: its journal files take over the mode."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise StorageError(
            f"{path}: {error.strerror or error}", hint="see that the folder exists and may be written to"
        ) from error


def _on_read_only_disk(path: Path) -> bool:
    """A file system that nobody can write, and nothing left in the log: only then SQLite needs no lock files to read.

    Otherwise it would want to make them, and fail to open a database that is merely to be looked at.
    """
    log = path.with_name(f"{path.name}-wal")
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY) and not (log.exists() and log.stat().st_size)
    except OSError:
        return False


def _use_wal(raw: Any) -> None:
    """Switch to write-ahead logging. SQLite does not wait for a lock here, so that two first starts need our patience."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            if raw.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                raw.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite.OperationalError as error:
            if error.sqlite_errorname not in _TAKEN or time.monotonic() > deadline:
                raise
        time.sleep(0.01)
