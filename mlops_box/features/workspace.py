"""A locked engine with a view's events in it, over which its SQL can be run for any part of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from mlops_box.data.convert import passthrough
from mlops_box.data.engine import MEMORY_LIMIT, engine, translated
from mlops_box.data.relation import describe, missing_column, path_literal, select_list
from mlops_box.data.sql import name as quote
from mlops_box.data.values import Column
from mlops_box.errors import UsageError
from mlops_box.features.definition import Definition, Source

Events: TypeAlias = pa.Table | Sequence[Path]

# Columns beside an event's own: when it happened and when it was known, both TIMESTAMP in UTC.
HAPPENED, KNEW = "mlops_box_time", "mlops_box_known"
# SQL beside the user's own: it reads `FROM {events_of(source)} AS e {clause}`.
_EVENTS = "mlops_box_events_"


class Workspace:
    """Runs a view's SQL over the events that :meth:`scope` lets through."""

    def __init__(self, connection: Any, definition: Definition):
        self.connection = connection
        self.definition = definition
        self.keys = ", ".join(quote(column) for column in definition.keys)
        self.values = ", ".join(quote(feature) for feature in definition.features)

    def each(self, alias: str) -> list[str]:
        """The features as columns of a relation."""
        return [f"{alias}.{quote(feature)}" for feature in self.definition.features]

    def events_of(self, source: Source) -> str:
        """All events of a source, whatever the scope, as a relation."""
        return _EVENTS + source.name

    def scope(self, clause: str = "") -> None:
        """Let the SQL see the events that ``FROM events AS e {clause}`` leaves."""
        for source in self.definition.sources:
            columns = ", ".join(f"e.{quote(column.name)}" for column in source.columns)
            self.connection.execute(
                f"CREATE OR REPLACE VIEW {quote(source.name)} AS SELECT {columns} FROM {self.events_of(source)} AS e {clause}"
            )

    def found(self) -> str:
        """SQL of what the view says of the scope's events: its keys, ``time`` and features, one row a key and time.

        Rows without key or time are left out. Of several rows of one key and time the greatest counts; no law-abiding
        view has such rows that differ.
        """
        definition = self.definition
        types = describe(self.connection, f"({definition.sql.strip().rstrip(';')}\n)")
        keys = {column.name: f"CAST({quote(column.name)} AS {column.type})" for column in definition.entity}
        features = {feature: passthrough(quote(feature), types[feature]) for feature in definition.features}
        present = " AND ".join(
            f"{quote(column)} IS NOT NULL" for column in [*definition.keys, definition.time]
        )
        return (
            f"SELECT {self.keys}, time, {self.values} FROM ("
            f"SELECT {select_list(keys)}, {instant(quote(definition.time))} AS time, {select_list(features)} "
            f"FROM ({definition.sql.strip().rstrip(';')}\n) WHERE {present}) "
            f"QUALIFY row_number() OVER (PARTITION BY {self.keys}, time ORDER BY {descending(definition.features)}) = 1"
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of one query."""
        with translated(what=f"feature view {self.definition.name!r} cannot be computed"):
            found: list[tuple[Any, ...]] = self.connection.execute(sql).fetchall()
        return found


@contextlib.contextmanager
def workspace(
    definition: Definition, events: Mapping[str, Events], *, scratch: Path, memory_limit: str | None = None
) -> Iterator[Workspace]:
    """Open an engine over events; the scope is all of them.

    Args:
        definition: The view.
        events: By source name, see :func:`mlops_box.features.compute.observations`.
        scratch: A folder for what does not fit into memory.
        memory_limit: DuckDB's bound; ``None``: the data room's.

    Raises:
        SourceError: A source's events lack a column or hold values of another type; the SQL fails on them.
        UsageError: A source has no events at all, not even none.
        StorageError: Memory or scratch space are not enough.
    """
    files = [path for given in events.values() if not isinstance(given, pa.Table) for path in given]
    what = f"feature view {definition.name!r} cannot be computed"
    with (
        engine(scratch=scratch, files=files, memory_limit=memory_limit or MEMORY_LIMIT) as connection,
        translated(what=what),
    ):
        opened = Workspace(connection, definition)
        for source in definition.sources:
            if source.name not in events:
                raise UsageError(f"feature view {definition.name!r} needs events of source {source.name!r}")
            _load(opened, source, events[source.name])
        opened.scope()
        for view in definition.upstream:
            connection.execute(f"CREATE VIEW {quote(view.name)} AS {view.sql.strip().rstrip(';')}")
        yield opened


def instant(column: str) -> str:
    """A time column as TIMESTAMP in UTC; times without a zone are UTC."""
    return f"CAST(CAST({column} AS TIMESTAMP WITH TIME ZONE) AS TIMESTAMP)"


def descending(columns: Sequence[str]) -> str:
    """An order in which the greatest row comes first."""
    return ", ".join(f"{quote(column)} DESC NULLS LAST" for column in columns)


def matched(keys: Sequence[str], one: str, other: str) -> str:
    """The condition that two relations speak of the same entity."""
    return " AND ".join(f"{one}.{quote(key)} = {other}.{quote(key)}" for key in keys)


def _load(opened: Workspace, source: Source, given: Events) -> None:
    connection, target = opened.connection, opened.events_of(source)
    if isinstance(given, pa.Table):
        connection.register(f"{target}_given", given)
        relation = f"{target}_given"
    elif given:
        relation = f"read_parquet([{', '.join(path_literal(path) for path in given)}], union_by_name = true)"
    else:
        relation = _nothing(source)
    present = describe(connection, relation)
    for column in source.columns:
        if column.name not in present:
            raise missing_column(column.name, present, role=f"part of feature source {source.name!r}")
    typed = {column.name: _typed(column) for column in source.columns}
    happened = typed[source.time]
    typed[HAPPENED] = happened
    typed[KNEW] = f"coalesce({typed[source.known]}, {happened})" if source.known else happened
    needed = " AND ".join(f"{quote(column)} IS NOT NULL" for column in [source.time, *opened.definition.keys])
    connection.execute(f"CREATE VIEW {target} AS SELECT {select_list(typed)} FROM {relation} WHERE {needed}")


def _typed(column: Column) -> str:
    name = quote(column.name)
    return instant(name) if column.type == "timestamp" else f"CAST({name} AS {column.type})"


def _nothing(source: Source) -> str:
    columns = ", ".join(f"CAST(NULL AS {column.type}) AS {quote(column.name)}" for column in source.columns)
    return f"(SELECT {columns} WHERE false)"
