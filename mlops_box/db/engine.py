"""One SQLite file, shared by processes and threads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite
import sqlite_utils

from mlops_box.clock import Clock, SystemClock
from mlops_box.db.migrate import migrate
from mlops_box.errors import BoxError, IntegrityError, StorageError

Row = dict[str, Any]

MINIMUM_SQLITE = (3, 51, 3)
BUSY_TIMEOUT_MS = 10_000


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

    def read(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Row]:
        return _rows(self._connection.conn.execute(sql, parameters))

    def one(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> Row | None:
        rows = self.read(sql, parameters)
        return rows[0] if rows else None

    def insert(self, table: str, row: Row, *, ignore: bool = False, replace: bool = False) -> None:
        """Insert one row; ``ignore`` keeps an existing row of that key, ``replace`` overwrites it."""
        self._connection.table(table).insert(row, ignore=ignore, replace=replace)


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
        self._opened: list[Any] = []
        self._lock = threading.Lock()
        with _translated(path):
            connection = self._connection()
            if not read_only:
                connection.conn.execute("PRAGMA journal_mode=WAL")
                path.chmod(0o600)
            migrate(connection.conn, path=path, clock=clock or SystemClock(), read_only=read_only)

    def _connection(self) -> sqlite_utils.Database:
        existing = getattr(self._local, "connection", None)
        if existing is not None:
            return existing  # type: ignore[no-any-return]
        mode = "ro" if self.read_only else "rwc"
        # Percent-encoding keeps '?' and '#' in a path from being read as part of the URI.
        location = f"{self.path.absolute().as_uri()}?mode={mode}"
        raw = sqlite.connect(
            location, uri=True, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False
        )
        raw.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        raw.execute("PRAGMA synchronous=FULL")
        raw.execute("PRAGMA foreign_keys=ON")
        raw.execute("PRAGMA trusted_schema=OFF")
        raw.execute(f"PRAGMA journal_size_limit={64 * 1024 * 1024}")
        connection = sqlite_utils.Database(raw)
        self._local.connection = connection
        with self._lock:
            self._opened.append(raw)
        return connection

    def read(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Row]:
        """All rows of one query, as dicts."""
        with _translated(self.path):
            return _rows(self._connection().conn.execute(sql, parameters))

    def one(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> Row | None:
        """The first row of one query, or ``None``."""
        rows = self.read(sql, parameters)
        return rows[0] if rows else None

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """A write transaction; keep it short. Nested use in one thread joins the outer transaction.

        ``BEGIN IMMEDIATE`` takes the write lock before anything is read: a deferred transaction that reads
        and then writes fails at once when another process wrote in between.
        """
        connection = self._connection()
        raw = connection.conn
        if raw.in_transaction:
            yield Transaction(connection)
            return
        with _translated(self.path):
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
        with _translated(self.path):
            return int(self._connection().conn.execute("PRAGMA data_version").fetchone()[0])

    def check(self) -> list[str]:
        """What ``PRAGMA integrity_check`` finds; empty when all is well."""
        found = [str(row["integrity_check"]) for row in self.read("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found

    def backup(self, target: Path) -> None:
        """A consistent copy while others read and write (SQLite's online backup)."""
        with _translated(target), contextlib.closing(sqlite.connect(str(target))) as copy:
            self._connection().conn.backup(copy)

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for raw in self._opened:
                raw.close()
            self._opened.clear()
        self._local = threading.local()


def _rows(cursor: Any) -> list[Row]:
    if cursor.description is None:
        return []
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, values, strict=True)) for values in cursor]


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's own errors as ours."""
    try:
        yield
    except BoxError:
        raise
    except sqlite.DatabaseError as error:
        text = str(error)
        if "malformed" in text or "not a database" in text:
            raise IntegrityError(f"{path} is damaged: {text}", hint="restore it from a backup") from error
        if isinstance(error, sqlite.OperationalError):
            hint = "free some space" if "full" in text else "see that the folder exists and may be written to"
            if "locked" in text:
                hint = "another process has held the database for over ten seconds; try again"
            raise StorageError(f"{path}: {text}", hint=hint) from error
        raise
