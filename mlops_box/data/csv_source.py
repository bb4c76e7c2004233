"""CSV files as the relation ``source``: types by declaration, else inferred over the whole file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mlops_box.data.convert import convert
from mlops_box.data.dialect import read_dialect
from mlops_box.data.engine import translated
from mlops_box.data.relation import Reject, Relation, describe, path_literal, select_list
from mlops_box.data.sql import literal, name, struct
from mlops_box.data.times import DATE_TEXT, TIME_TEXT
from mlops_box.data.values import ColumnType
from mlops_box.errors import SourceError

# DuckDB rounds "3.5" when it reads a BIGINT; a decimal keeps the fraction for the contract to see. Times are read
# with their zone, which a plain TIMESTAMP would drop.
_READ_AS: dict[ColumnType, str] = {
    "boolean": "BOOLEAN", "bigint": "DECIMAL(38,9)", "double": "DOUBLE", "varchar": "VARCHAR",
    "timestamp": "TIMESTAMP WITH TIME ZONE", "date": "DATE",
}  # fmt: skip
_NUMBER_TEXT = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|(?i:[+-]?inf|[+-]?infinity|nan)"


_CAST = re.compile(r'Could not convert string "(.*)" to ', re.DOTALL)


def open_csv(
    connection: Any,
    paths: tuple[Path, ...],
    *,
    declared: dict[str, ColumnType],
    typed: bool,
    tolerance: float = 0.0,
) -> Relation:
    """Make ``source``. A view that is read once; with ``typed`` a table in the contract's types, for a query.

    A column that is not declared gets the narrowest type that all its values have, or all but a share of
    ``tolerance``: rows with the others are then rejects.

    Raises:
        SourceError: A file is no CSV, or the files have different columns.
    """
    dialects = [read_dialect(path) for path in paths]
    columns = list(dialects[0].columns)
    for path, dialect in zip(paths, dialects, strict=True):
        if sorted(dialect.columns) != sorted(columns):
            odd = sorted(set(dialect.columns) ^ set(columns))
            raise SourceError(f"{path} and {paths[0]} have different columns: {', '.join(map(repr, odd))}")

    def scan(types: dict[str, str], options: str) -> str:
        parts = [
            f"SELECT {', '.join(name(column) for column in columns)} FROM read_csv({path_literal(path)}, "
            f"auto_detect = false, header = true, delim = {literal(dialect.delimiter)}, quote = '\"', escape = '\"', "
            f"columns = {struct({column: types[column] for column in dialect.columns})}, {options})"
            for path, dialect in zip(paths, dialects, strict=True)
        ]
        return " UNION ALL ".join(parts)

    with translated(what=f"{paths[0].name} cannot be read as CSV"):
        unknown = [column for column in columns if column not in declared]
        inferred = _infer(
            connection, scan(dict.fromkeys(columns, "VARCHAR"), "ignore_errors = true"), unknown, tolerance
        )
        types = {column: _READ_AS[declared[column]] if column in declared else inferred[column] for column in columns}  # fmt: skip
        reading = scan(types, "store_rejects = true")
        if not typed:
            connection.execute(f"CREATE VIEW source AS {reading}")
            return Relation("source", describe(connection, "source"), _rejects_of(connection, types))
        return _typed(connection, reading, types, declared)


def _typed(connection: Any, reading: str, types: dict[str, str], declared: dict[str, ColumnType]) -> Relation:
    """A table: a query may scan ``source`` more than once, and each scan of the file would reject anew."""
    connection.execute(
        f"CREATE TABLE loaded AS SELECT row_number() OVER () AS mlops_box_row, * FROM ({reading})"
    )
    values, bad = {}, {}
    for column, have in types.items():
        converted = convert(name(column), have, declared[column]) if column in declared else None
        values[column] = converted.value if converted else name(column)
        if converted and converted.bad:
            bad[column] = converted.bad
    where = " AND ".join(f"NOT ({predicate})" for predicate in bad.values()) or "true"
    connection.execute(f"CREATE VIEW source AS SELECT {select_list(values)} FROM loaded WHERE {where}")
    parsed = _rejects_of(connection, types)

    def rejects() -> Iterator[Reject]:
        yield from parsed()
        for column, predicate in bad.items():
            earlier = [other for key, other in bad.items() if list(bad).index(key) < list(bad).index(column)]
            first = " AND ".join([predicate, *(f"NOT ({other})" for other in earlier)])
            for row, text in connection.execute(
                f"SELECT mlops_box_row, CAST({name(column)} AS VARCHAR) FROM loaded WHERE {first} ORDER BY 1"
            ).fetchall():
                yield Reject("", None, column, f"row {row}: {text} is no {declared[column]}")

    return Relation("source", describe(connection, "source"), rejects)


def _infer(connection: Any, scan: str, columns: list[str], tolerance: float) -> dict[str, str]:
    """The narrowest type that holds every value of each column, but for a share of ``tolerance``."""
    if not columns:
        return {}
    counts = []
    for column in columns:
        text = name(column)
        # A leading zero marks a code (a postcode, an article number), not a number.
        tests = (
            f"TRY_CAST({text} AS BIGINT) IS NOT NULL AND regexp_full_match({text}, '[+-]?(0|[1-9][0-9]*)')",
            f"regexp_full_match({text}, {literal(_NUMBER_TEXT)}) AND NOT regexp_matches({text}, '^[+-]?0[0-9]')",
            f"lower({text}) IN ('true', 'false')",
            f"regexp_full_match({text}, {literal(DATE_TEXT)}) AND TRY_CAST({text} AS DATE) IS NOT NULL",
            f"regexp_full_match({text}, {literal(TIME_TEXT)}) "
            f"AND TRY_CAST({text} AS TIMESTAMP WITH TIME ZONE) IS NOT NULL",
        )
        counts += [f"count({text})", *(f"count_if({test})" for test in tests)]
    found = connection.execute(f"SELECT {', '.join(counts)} FROM ({scan})").fetchone()
    types = {}
    for place, column in enumerate(columns):
        present, *fitting = found[6 * place : 6 * place + 6]
        enough = present * (1 - tolerance)
        kinds = zip(("BIGINT", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP WITH TIME ZONE"), fitting, strict=True)
        # With a tolerance a few fractions would make integers of them all: the wider type wins where it fits more.
        usable = [(fits, kind) for kind, fits in kinds if present and fits >= enough]
        most = max((fits for fits, _ in usable), default=0)
        types[column] = next((kind for fits, kind in usable if fits == most), "VARCHAR")
    return types


def _rejects_of(connection: Any, types: dict[str, str]) -> Callable[[], Iterator[Reject]]:
    wanted = {column: _word(kind) for column, kind in types.items()}

    def rejects() -> Iterator[Reject]:
        known = connection.execute(
            "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'reject_errors'"
        ).fetchone()[0]
        if not known:
            return
        rows = connection.execute(
            "SELECT s.file_path, e.line_byte_position, arg_min(e.column_name, e.column_idx), "
            "arg_min(e.error_type || ': ' || e.error_message, e.column_idx) "
            "FROM reject_errors e JOIN reject_scans s USING (scan_id, file_id) GROUP BY ALL ORDER BY 1, 2"
        ).fetchall()
        counters: dict[str, _LineCounter] = {}
        try:
            for file, position, column, reason in rows:
                counter = counters.setdefault(file, _LineCounter(Path(file)))
                kind, _, message = reason.partition(": ")
                # Where cells are missing or too many, DuckDB's column is only where it noticed.
                wrong = column if kind == "CAST" else None
                yield Reject(
                    file, counter.line_at(position - 1), wrong, _reason(message, wanted.get(wrong or ""))
                )
        finally:
            for counter in counters.values():
                counter.close()

    return rejects


def _word(kind: str) -> str:
    return next((word for word, read_as in _READ_AS.items() if read_as == kind), kind.lower())


def _reason(message: str, wanted: str | None) -> str:
    cast = _CAST.search(message)
    if cast and wanted:
        return f"{cast[1]!r} is no {wanted}"
    return message.splitlines()[0]


class _LineCounter:
    """Turns byte positions, asked in rising order, into line numbers: DuckDB's own are off by one after blank
    lines."""

    def __init__(self, path: Path):
        self._file = path.open("rb")
        self._position = 0
        self._line = 1

    def line_at(self, position: int) -> int:
        while self._position < position:
            chunk = self._file.read(min(1 << 20, position - self._position))
            if not chunk:
                break
            self._line += chunk.count(b"\n")
            self._position += len(chunk)
        # A position may be that of blank lines before the row.
        while (byte := self._file.read(1)) in (b"\n", b"\r"):
            self._line += byte == b"\n"
            self._position += 1
        self._file.seek(self._position)
        return self._line

    def close(self) -> None:
        self._file.close()
