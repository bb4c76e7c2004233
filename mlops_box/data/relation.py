"""A source inside an engine: what every format's reader makes, and what it shares with the others."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_box.data.sql import literal, name
from mlops_box.errors import SourceError


@dataclass(frozen=True)
class Reject:
    """A row that could not be parsed. ``line`` counts from 1 (a SQLite table's rows, a JSON array's elements);
    ``column`` is ``None`` where the whole line is wrong."""

    file: str
    line: int | None
    column: str | None
    reason: str


@dataclass(frozen=True)
class Relation:
    """A source (or the query over it) inside an engine.

    Attributes:
        sql: What stands after FROM.
        columns: DuckDB types by name, in order; ``JSON`` where each value has a type of its own.
        rejects: The rows that could not be parsed; complete once the relation was read to its end.
    """

    sql: str
    columns: dict[str, str]
    rejects: Callable[[], Iterator[Reject]]


def missing_column(wanted: str, columns: Iterable[str], *, role: str) -> SourceError:
    """The error for a column that is not there, with the nearest that is."""
    present = list(columns)
    near = difflib.get_close_matches(wanted.lower(), [item.lower() for item in present], n=1, cutoff=0.5)
    nearest = next((item for item in present if near and item.lower() == near[0]), None)
    shown = ", ".join(present[:12]) + (" ..." if len(present) > 12 else "")
    return SourceError(
        f"the data has no column {wanted!r}, which is {role}",
        hint=f"did you mean {nearest!r}?" if nearest else f"it has: {shown}",
        details={"column": wanted, "nearest": nearest, "columns": present},
    )


def describe(connection: Any, relation: str) -> dict[str, str]:
    """DuckDB types by column name."""
    rows = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    return {row[0]: row[1] for row in rows}


def select_list(expressions: dict[str, str]) -> str:
    """``expression AS "name", ...``."""
    return ", ".join(f"{expression} AS {name(column)}" for column, expression in expressions.items())


def path_literal(path: Path) -> str:
    """A path for DuckDB's readers, which take ``*``, ``?`` and ``[`` in it for wildcards.

    Raises:
        SourceError: The name holds one of them.
    """
    if any(character in str(path) for character in "*?["):
        raise SourceError(f"{path}: the path holds one of * ? [", hint="rename the file or its folder")
    return literal(str(path))
