"""A question in SQL to one snapshot: read-only, bounded in rows and time.

The engine may read the snapshot's file and nothing else (:mod:`mlops_box.data.engine`); the snapshot is the view ``data``.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_box.box import Box
from mlops_box.errors import SourceError, UsageError
from mlops_box.ids import new_id

VIEW = "data"
MAX_ROWS = 200
TIME_LIMIT_S = 10.0
MEMORY_LIMIT = "512MB"


@dataclass(frozen=True)
class Answer:
    """Rows in the order that the query gives them; ``more`` says that there were further ones."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``: numbers that JSON does not know become text."""
        return {
            "columns": list(self.columns),
            "rows": [[_jsonable(value) for value in row] for row in self.rows],
            "more": self.more,
        }


@dataclass(frozen=True)
class Asked:
    """What may be read, and where what does not fit into memory goes (made and removed by the engine)."""

    file: Path
    scratch: Path


def asked(box: Box, snapshot: str) -> Asked:
    """The file behind a snapshot's id, or the beginning of one.

    Raises:
        NotFoundError: There is no such snapshot, or its file is missing.
    """
    path = box.snapshots.path(box.snapshots.get(snapshot))
    # A folder of its own: two engines in one folder would write over each other's files.
    return Asked(path, box.home.scratch / f"query-{new_id(box.clock)}")


def query_snapshot(
    box: Box, snapshot: str, sql: str, *, max_rows: int = MAX_ROWS, time_limit_s: float = TIME_LIMIT_S
) -> Answer:
    """Run one SELECT over the view ``data``.

    Raises:
        NotFoundError: There is no such snapshot.
        UsageError: It is not one SELECT, or it took too long.
        SourceError: DuckDB refuses it, in its words: other files, network and settings are out of reach.
        StorageError: Memory or disk are not enough.
    """
    return query_file(asked(box, snapshot), sql, max_rows=max_rows, time_limit_s=time_limit_s)


def query_file(
    source: Asked,
    sql: str,
    *,
    max_rows: int = MAX_ROWS,
    time_limit_s: float = TIME_LIMIT_S,
    started: Callable[[Callable[[], None]], None] = lambda _interrupt: None,
) -> Answer:
    """As :func:`query_snapshot`, without the box, so that it may run in any thread.

    Args:
        started: Is given what ends the query early, from another thread; harmless once it has ended.
    """
    import duckdb

    from mlops_box.data.engine import engine, translated
    from mlops_box.data.sql import literal

    late = threading.Event()
    with engine(scratch=source.scratch, files=[source.file], memory_limit=MEMORY_LIMIT) as connection:
        connection.execute(f"CREATE VIEW {VIEW} AS SELECT * FROM read_parquet({literal(str(source.file))})")

        def interrupt() -> None:
            with contextlib.suppress(duckdb.ConnectionException):
                connection.interrupt()

        def end() -> None:
            late.set()
            interrupt()

        timer = threading.Timer(time_limit_s, end)
        timer.daemon = True
        try:
            with translated(what="the query cannot be answered", view=VIEW):
                _check(connection.extract_statements(sql))
                started(interrupt)
                timer.start()
                result = connection.execute(sql)
                rows = result.fetchmany(max_rows + 1)
                columns = tuple(str(column[0]) for column in result.description)
        except SourceError as error:
            if late.is_set():
                raise UsageError(
                    f"the query was ended after {time_limit_s:g} s",
                    hint="ask for less: a WHERE, fewer joins, or USING SAMPLE 10%",
                ) from error
            raise
        except OverflowError as error:
            # DuckDB's intervals reach further than Python's.
            raise SourceError(
                f"a value of the answer is too large to be shown: {error}",
                hint="cast it: CAST(... AS VARCHAR)",
            ) from error
        finally:
            timer.cancel()
    return Answer(columns, tuple(rows[:max_rows]), len(rows) > max_rows)


def _check(statements: list[Any]) -> None:
    if len(statements) != 1 or statements[0].type.name != "SELECT":
        raise UsageError("a question is one SELECT", hint=f"for example: select * from {VIEW} limit 20")


def _jsonable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _jsonable(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(held) for held in value]
    return value
