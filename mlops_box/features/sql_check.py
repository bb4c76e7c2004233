"""What a view's SQL may be: one SELECT over declared sources and views, the same whenever it is run.

It is checked as DuckDB parses it (``json_serialize_sql``), with what DuckDB's own catalogue says of each function.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

from mlops_box.data.engine import readable
from mlops_box.errors import ProjectError

# Names that DuckDB reads as a value although no brackets follow; which value, the catalogue cannot say.
_MOVING_NAMES = frozenset(
    {
        "current_timestamp", "current_date", "current_time", "localtime", "localtimestamp", "user", "current_user",
        "session_user", "current_role", "current_catalog", "current_schema",
    }
)  # fmt: skip
# Table functions that read nothing but their arguments.
_PURE_TABLES = frozenset(
    {"range", "generate_series", "unnest", "json_each", "json_tree", "repeat", "repeat_row"}
)
_LINE = re.compile(r"^LINE (\d+):", re.MULTILINE)
_WORD = re.compile(r"[a-z_][a-z0-9_]*")
_FILE = re.compile(r"[/\\.:*]")


@dataclass(frozen=True)
class Place:
    """Where SQL is written: ``file``, and the line of its first line."""

    file: str
    first_line: int = 1

    def error(self, message: str, *, line: int = 1, hint: str | None = None) -> ProjectError:
        """An error at a line of the SQL, which counts from 1."""
        return ProjectError(f"{self.file}, line {self.first_line + line - 1}: {message}", hint=hint)


@dataclass(frozen=True)
class _Node:
    """A part of the parsed SQL and the names of the common table expressions that it sees."""

    raw: dict[str, Any]
    visible: frozenset[str]


def tables_read(connection: Any, sql: str, place: Place) -> dict[str, int]:
    """Names of the relations that the SQL reads, with the line of each; refuses what no view may do.

    Args:
        connection: Any DuckDB connection; nothing is run but its parser.
        sql: The SQL.
        place: For errors.

    Raises:
        ProjectError: No SQL, several statements, one that writes, a file or table function, a function whose value
            changes from run to run, a sample.
    """
    _one_select(connection, sql, place)
    tree = json.loads(connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()[0])
    if tree.get("error"):
        raise place.error(str(tree["error_message"]), line=_line_at(sql, int(tree.get("position") or 0)))
    catalogue = _Catalogue(connection)
    found: dict[str, int] = {}
    for node in _walk(tree["statements"], frozenset()):
        line = _line_at(sql, node.raw.get("query_location", 0))
        _refuse_moving(node, catalogue, place, line)
        kind = node.raw.get("type")
        if kind == "TABLE_FUNCTION":
            _refuse_reader(node, place, line)
        elif kind == "BASE_TABLE":
            table = _table(node, place, line)
            if table.lower() not in node.visible:
                found.setdefault(table.lower(), line)
    return found


def line_of(error: Exception) -> int:
    """The line (from 1) of the SQL that an error of DuckDB names."""
    match = _LINE.search(str(error))
    return int(match[1]) if match else 1


def _one_select(connection: Any, sql: str, place: Place) -> None:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        hint = (
            'a column named like a word of SQL is written in quotes: "at"' if "syntax" in str(error) else None
        )
        raise place.error(readable(error), line=line_of(error), hint=hint) from None
    if not statements:
        raise place.error("there is no SQL", hint="a view is one SELECT")
    for statement in statements:
        if statement.type.name != "SELECT":
            line = _line_at(sql, len(sql[: sql.find(statement.query.strip())].encode()))
            raise place.error(
                f"a view may not {statement.type.name.lower()}",
                line=line,
                hint="a view is one SELECT; it changes nothing",
            )
    if len(statements) > 1:
        line = _line_at(sql, len(sql[: sql.find(statements[1].query.strip())].encode()))
        raise place.error("a view is one SELECT, here a second statement begins", line=line)


def _walk(value: Any, visible: frozenset[str]) -> Iterator[_Node]:
    if isinstance(value, list):
        for item in value:
            yield from _walk(item, visible)
    elif isinstance(value, dict):
        tables = value.get("cte_map")
        for table in tables.get("map", ()) if isinstance(tables, dict) else ():
            name = frozenset({str(table["key"]).lower()})
            # A table expression sees those before it, and itself where it is recursive.
            recursive = table["value"].get("query_node", {}).get("type") == "RECURSIVE_CTE_NODE"
            yield from _walk(table["value"], visible | name if recursive else visible)
            visible |= name
        yield _Node(value, visible)
        for key, item in value.items():
            if key != "cte_map":
                yield from _walk(item, visible)


def _table(node: _Node, place: Place, line: int) -> str:
    raw = node.raw
    name = str(raw.get("table_name", ""))
    if raw.get("schema_name") or raw.get("catalog_name"):
        raise place.error(
            f"{name!r} is named with a schema", line=line, hint="name a source or a view, nothing before it"
        )
    if _FILE.search(name):
        raise place.error(
            f"it reads {name!r} itself",
            line=line,
            hint="declare it as a source: [features.sources.NAME] in mlops.toml",
        )
    return name


def _refuse_reader(node: _Node, place: Place, line: int) -> None:
    name = str(node.raw.get("function", {}).get("function_name", ""))
    if name.lower() not in _PURE_TABLES:
        raise place.error(
            f"{name}() is not allowed in a view",
            line=line,
            hint="what a view reads is declared: [features.sources.NAME]",
        )


def _refuse_moving(node: _Node, catalogue: _Catalogue, place: Place, line: int) -> None:
    raw = node.raw
    name = None
    if raw.get("sample"):
        raise place.error("a sample is another one in each run", line=line, hint="filter by a column instead")
    if "function_name" in raw and raw.get("type") != "TABLE_FUNCTION":
        name = str(raw["function_name"]).lower()
    elif raw.get("class") == "COLUMN_REF" and len(raw.get("column_names") or ()) == 1:
        bare = str(raw["column_names"][0]).lower()
        name = bare if bare in _MOVING_NAMES else None
    if name is not None and (name in _MOVING_NAMES or catalogue.moves(name)):
        raise place.error(
            f"{name} has another value in each run: nothing could be computed again",
            line=line,
            hint="a view depends on its events alone: use the event's time",
        )


class _Catalogue:
    """What DuckDB says of its functions."""

    def __init__(self, connection: Any):
        rows = connection.execute(
            "SELECT lower(function_name), bool_and(stability = 'CONSISTENT'), any_value(macro_definition) "
            "FROM duckdb_functions() GROUP BY 1"
        ).fetchall()
        self._stable = {name: (stable, macro) for name, stable, macro in rows}

    def moves(self, name: str, depth: int = 0) -> bool:
        """Does a function (or a macro, by what it is made of) change from run to run?"""
        stable, macro = self._stable.get(name, (True, None))
        if macro is None:
            return stable is False
        words = set(_WORD.findall(macro.lower())) - {name}
        return bool(words & _MOVING_NAMES) or (
            depth < 4 and any(self.moves(word, depth + 1) for word in words)
        )


def _line_at(sql: str, position: int) -> int:
    """The line (from 1) of a byte of the SQL; 1 where the parser names none."""
    data = sql.encode()
    return 1 + data[:position].count(b"\n") if 0 <= position <= len(data) else 1


def nearest(name: str, known: Collection[str]) -> str:
    """A hint for a relation that was not found."""
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return (
        f"declared are: {', '.join(sorted(known))}"
        if known
        else "declare it: [features.sources.NAME] in mlops.toml"
    )
