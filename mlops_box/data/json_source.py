"""JSON (lines or one array) and SQLite tables as the relation ``source``: each value has a type of its own.

SQLite is dynamically typed too, and DuckDB's sqlite extension is not in the wheel: its rows come through
:mod:`mlops_box.db` as JSON lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from mlops_box.data.convert import convert
from mlops_box.data.dialect import check_names, read_head
from mlops_box.data.engine import translated
from mlops_box.data.relation import Reject, Relation, describe, path_literal, select_list
from mlops_box.data.sql import literal, name
from mlops_box.data.times import DATE_TEXT, TIME_TEXT
from mlops_box.data.values import ColumnType
from mlops_box.db import read_table
from mlops_box.errors import SourceError

_WORDS: dict[str, ColumnType] = {
    "BOOLEAN": "boolean", "BIGINT": "bigint", "UBIGINT": "bigint", "DOUBLE": "double", "VARCHAR": "varchar",
}  # fmt: skip


def open_json(
    connection: Any,
    paths: tuple[Path, ...],
    *,
    kind: Literal["json", "jsonl", "sqlite"],
    declared: dict[str, ColumnType],
    typed: bool,
    table: str | None,
    scratch: Path,
) -> Relation:
    """Make ``source``. Declared columns keep each value's own type (``JSON``), the others are inferred; with
    ``typed``, for a query, all columns have the contract's types.

    A line that is no JSON object, or holds a value that does not fit an inferred (or, with ``typed``, a declared)
    type, is a reject.

    Raises:
        SourceError: A file is not JSON at all, or the SQLite table is not there.
    """
    if kind == "sqlite":
        read = [_copied(path, table, scratch / f"sqlite-{number}.jsonl") for number, path in enumerate(paths)]
        parts = [_lines(copy, shown) for copy, shown in zip(read, paths, strict=True)]
    else:
        for path in paths:
            read_head(path)
        parts = [_array(path) if _is_array(path) else _lines(path, path) for path in paths]
    with translated(what=f"{paths[0].name} cannot be read as {'SQLite' if kind == 'sqlite' else 'JSON'}"):
        connection.execute(
            "CREATE VIEW documents AS SELECT *, CASE WHEN json_valid(doc) THEN json_type(doc) = 'OBJECT' ELSE false END AS ok "
            "FROM "
            f"({' UNION ALL '.join(parts)}) WHERE doc IS NOT NULL"
        )
        found = _columns(connection, paths[0])
        return _relation(connection, found, declared, typed=typed)


def _relation(
    connection: Any, found: dict[str, str], declared: dict[str, ColumnType], *, typed: bool
) -> Relation:
    fields = "{" + ", ".join(f'{json.dumps(column)}: "JSON"' for column in found) + "}"
    connection.execute(
        "CREATE VIEW parsed AS SELECT file, line, ok, "
        f"CASE WHEN ok THEN json_transform(doc, {literal(fields)}) END AS s FROM documents"
    )
    inferred = _infer_times(
        connection, {column: kind for column, kind in found.items() if column not in declared}
    )
    values: dict[str, str] = {}
    fixed: dict[str, tuple[str, ColumnType]] = {}
    for column in found:
        field = f"s.{name(column)}"
        want = declared.get(column) if typed else None
        want = want or (inferred.get(column) if column not in declared else None)
        if want is None:
            # A column of lists, objects or mixed values that nobody declared goes through as JSON text.
            values[column] = field if column in declared else f"CAST({field} AS VARCHAR)"
            continue
        converted = convert(field, "JSON", want)
        values[column] = converted.value
        if converted.bad:
            fixed[column] = (converted.bad, want)
    bad = " OR ".join(predicate for predicate, _ in fixed.values()) or "false"
    kind = "TABLE" if typed else "VIEW"
    connection.execute(
        f"CREATE {kind} source AS SELECT {select_list(values)} FROM parsed WHERE ok AND NOT coalesce({bad}, false)"
    )
    reason = "CASE WHEN NOT ok THEN 'it is no JSON object' "
    which = "CASE WHEN NOT ok THEN NULL "
    for column, (predicate, want) in fixed.items():
        text = f"left(CAST(s.{name(column)} AS VARCHAR), 80)"
        reason += f"WHEN {predicate} THEN {text} || {literal(f' is no {want}')} "
        which += f"WHEN {predicate} THEN {literal(column)} "

    def rejects() -> Iterator[Reject]:
        rows = connection.execute(
            f"SELECT file, line, {which} END, {reason} END FROM parsed WHERE NOT ok OR coalesce({bad}, false)"
        ).fetchall()
        for row in rows:
            yield Reject(*row)

    return Relation("source", describe(connection, "source"), rejects)


def _columns(connection: Any, path: Path) -> dict[str, str]:
    structure = connection.execute(
        "SELECT json_group_structure(CAST(doc AS JSON)) FROM documents WHERE ok"
    ).fetchone()[0]
    found = json.loads(structure) if structure else {}
    if not isinstance(found, dict) or not found:
        raise SourceError(
            f"{path} holds no JSON object", hint='one object a line, for example {"hum": 0.4, "cnt": 12}'
        )
    check_names(list(found), path)
    return {column: kind if isinstance(kind, str) else "JSON" for column, kind in found.items()}


def _infer_times(connection: Any, found: dict[str, str]) -> dict[str, ColumnType]:
    """Contract types of undeclared columns; JSON has no times, so texts that all are ISO times become times."""
    types = {column: _WORDS[kind] for column, kind in found.items() if kind in _WORDS}
    texts = [column for column, kind in types.items() if kind == "varchar"]
    if texts:
        tests = []
        for column in texts:
            text = f"(s.{name(column)} ->> '$')"
            tests += [
                f"bool_and(regexp_full_match({text}, {literal(pattern)}) AND TRY_CAST({text} AS TIMESTAMP) IS NOT NULL)"
                for pattern in (DATE_TEXT, TIME_TEXT)
            ]
        row = connection.execute(f"SELECT {', '.join(tests)} FROM parsed WHERE ok").fetchone()
        for place, column in enumerate(texts):
            dates, times = row[2 * place : 2 * place + 2]
            types[column] = "date" if dates else "timestamp" if times else "varchar"
    return types


def _lines(path: Path, shown: Path) -> str:
    # Read as a CSV of one column, so that a malformed line is seen with its number; \x01 cannot occur in JSON.
    return (
        f"SELECT {literal(str(shown))} AS file, row_number() OVER () AS line, doc FROM read_csv({path_literal(path)}, "
        "auto_detect = false, header = false, delim = '\x01', quote = '', escape = '', columns = {'doc': 'VARCHAR'})"
    )


def _array(path: Path) -> str:
    return (
        f"SELECT {literal(str(path))} AS file, row_number() OVER () AS line, CAST(json AS VARCHAR) AS doc "
        f"FROM read_json_objects({path_literal(path)}, format = 'array')"
    )


def _is_array(path: Path) -> bool:
    return path.suffix.lower() == ".json" and read_head(path).lstrip().startswith("[")


def _copied(path: Path, table: str | None, target: Path) -> Path:
    columns, batches = read_table(path, table)
    check_names(columns, path)
    with target.open("w", encoding="utf-8") as file:
        for batch in batches:
            for row in batch:
                record = dict(zip(columns, (_plain(value) for value in row), strict=True))
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return target


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value
