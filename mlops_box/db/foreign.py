"""Reading tables of other people's SQLite files, as data: never written, never kept open."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pysqlite3.dbapi2 as sqlite

from mlops_box.errors import SourceError

_BATCH_ROWS = 10_000


def read_table(path: Path, table: str | None = None) -> tuple[list[str], Iterator[list[tuple[object, ...]]]]:
    """Column names and batches of rows of one table (or view) of a SQLite file, opened read-only.

    Args:
        path: The file.
        table: Its table; may be ``None`` where there is only one.

    Raises:
        SourceError: The file is no database, is damaged or locked, or the table is not there.
    """
    with _translated(path), contextlib.closing(_open(path)) as connection:
        tables = [
            row[0]
            for row in connection.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' "
                "ESCAPE '\\' ORDER BY name"
            )
        ]
        chosen = _choose(path, tables, table)
        columns = [
            row[0] for row in connection.execute(f"SELECT * FROM {_quoted(chosen)} LIMIT 0").description
        ]
    return columns, _batches(path, chosen)


def _batches(path: Path, table: str) -> Iterator[list[tuple[object, ...]]]:
    with _translated(path), contextlib.closing(_open(path)) as connection:
        cursor = connection.execute(f"SELECT * FROM {_quoted(table)}")
        while batch := cursor.fetchmany(_BATCH_ROWS):
            yield batch


def _open(path: Path) -> sqlite.Connection:
    connection = sqlite.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA query_only=ON")
    return connection


def _choose(path: Path, tables: list[str], wanted: str | None) -> str:
    shown = ", ".join(tables) or "none"
    if wanted is not None:
        if wanted not in tables:
            raise SourceError(f"{path} has no table {wanted!r}", hint=f"it has: {shown}")
        return wanted
    if len(tables) != 1:
        raise SourceError(
            f"{path} has {len(tables)} tables", hint=f'name one under [data]: table = "..."; it has: {shown}'
        )
    return tables[0]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite.DatabaseError as error:
        raise SourceError(f"{path} cannot be read as SQLite: {error}") from error
