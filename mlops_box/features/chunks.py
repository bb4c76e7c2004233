"""A definition's events, taken apart by the moment they were known, and the observations that each part adds.

Backfill and catching up are the same: what lies behind the mark is left alone, what lies before it is taken in parts of a
bounded size. A part's observations look back as far as the definition does, and no further.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlops_box.data.engine import engine, translated
from mlops_box.data.relation import path_literal
from mlops_box.data.sql import name as quote
from mlops_box.features.compute import KNOWN, TIME, observation_schema, observations
from mlops_box.features.definition import Definition, Source
from mlops_box.features.events import NUMBER
from mlops_box.features.sources import same_event
from mlops_box.features.workspace import matched

CHUNK_EVENTS = 500_000
# When an event had happened and was known, in microseconds since 1970.
_EFFECTIVE = "mlops_box_effective"
_AFFECTED, _FIRST, _LATE = "mlops_box_affected", "mlops_box_first", "mlops_box_late"


class EventParts:
    """The events of a definition's sources, their own and the pushed ones.

    Args:
        connection: An open engine, to which :func:`event_parts` has given them.
    """

    def __init__(self, connection: Any, definition: Definition, scratch: Path):
        self._connection = connection
        self._definition = definition
        self._scratch = scratch
        self._keys = ", ".join(quote(key) for key in definition.keys)

    def behind(self, until_us: int) -> int:
        """How many events of the sources' own files had happened and were known until then."""
        return self._number(
            f"SELECT count(*) FROM ({self._moments()}) WHERE {NUMBER} IS NULL AND {_EFFECTIVE} <= {until_us}"
        )

    def late(self, until_us: int, after: int) -> int:
        """How many events were pushed after the one numbered ``after`` about a time that is behind the mark."""
        return self._number(
            f"SELECT count(*) FROM ({self._moments()}) WHERE {NUMBER} > {after} AND {_EFFECTIVE} <= {until_us}"
        )

    def last_number(self) -> int:
        """The greatest number of a pushed event; 0 without."""
        return self._number(f"SELECT coalesce(max({NUMBER}), 0) FROM ({self._moments()})")

    def bounds(self, from_us: int, until_us: int, *, chunk_events: int = CHUNK_EVENTS) -> list[int]:
        """The ends of parts of at most ``chunk_events`` (and those of the same moment), the last event's moment last."""
        rows = self._connection.execute(
            f"SELECT DISTINCT moment FROM (SELECT {_EFFECTIVE} AS moment, row_number() OVER (ORDER BY {_EFFECTIVE}) AS place, "
            f"count(*) OVER () AS total FROM ({self._moments()}) WHERE {_EFFECTIVE} > {from_us} AND {_EFFECTIVE} <= {until_us}) "
            f"WHERE place % {chunk_events} = 0 OR place = total ORDER BY moment"
        ).fetchall()
        return [int(moment) for (moment,) in rows]

    def observed(self, from_us: int, until_us: int, *, late_after: int | None = None) -> pa.Table:
        """The observations that the events after ``from_us`` up to ``until_us`` add.

        Args:
            late_after: With the events pushed after the one of this number, that are about earlier times.

        Raises:
            SourceError: The SQL fails on the events.
        """
        self._affect(from_us, until_us, late_after)
        events = {source.name: self._window(source, until_us) for source in self._definition.sources}
        found = observations(self._definition, events, scratch=self._scratch)
        self._connection.register("mlops_box_found", found)
        try:
            table = self._connection.sql(
                f"SELECT o.* FROM mlops_box_found AS o JOIN {_AFFECTED} AS a ON {matched(self._definition.keys, 'o', 'a')} "
                f"WHERE o.{TIME} >= a.{_FIRST} AND (a.{_LATE} OR epoch_us(greatest(o.{TIME}, o.{KNOWN})) > {from_us}) "
                f"ORDER BY {', '.join(f'o.{quote(key)}' for key in self._definition.keys)}, o.{TIME}, o.{KNOWN}"
            ).to_arrow_table()
        finally:
            self._connection.unregister("mlops_box_found")
        return table.cast(observation_schema(self._definition))

    def own_events(self, source: Source, *, after_us: int, until_us: int, from_us: int) -> pa.Table:
        """The events of a source's own file that became effective after ``after_us`` up to ``until_us``, of times from
        ``from_us`` on."""
        columns = ", ".join(quote(column.name) for column in source.columns)
        found: pa.Table = self._connection.sql(
            f"SELECT {columns} FROM {_events(source)} WHERE {NUMBER} IS NULL AND {_EFFECTIVE} > {after_us} "
            f"AND {_EFFECTIVE} <= {until_us} AND epoch_us({quote(source.time)}) >= {from_us} ORDER BY ALL"
        ).to_arrow_table()
        return found

    def _affect(self, from_us: int, until_us: int, late_after: int | None) -> None:
        """Makes the table of the entities that have fresh events, and since when."""
        fresh = f"{_EFFECTIVE} > {from_us} AND {_EFFECTIVE} <= {until_us}"
        if late_after is not None:
            fresh = f"({fresh}) OR ({NUMBER} > {late_after} AND {_EFFECTIVE} <= {from_us})"
        self._connection.execute(
            f"CREATE OR REPLACE TABLE {_AFFECTED} AS SELECT {self._keys}, min(mlops_box_at) AS {_FIRST}, "
            f"bool_or({_EFFECTIVE} <= {from_us}) AS {_LATE} FROM ({self._moments()}) WHERE {fresh} GROUP BY {self._keys}"
        )

    def _window(self, source: Source, until_us: int) -> pa.Table:
        columns = ", ".join(f"e.{quote(column.name)}" for column in source.columns)
        lookback = self._definition.lookback
        reach = ""
        if lookback is not None:
            reach = f"AND e.{quote(source.time)} >= a.{_FIRST} - to_microseconds({round(lookback.total_seconds() * 1e6)})"
        found: pa.Table = self._connection.sql(
            f"SELECT {columns} FROM {_events(source)} AS e JOIN {_AFFECTED} AS a ON {matched(self._definition.keys, 'e', 'a')} "
            f"WHERE e.{_EFFECTIVE} <= {until_us} {reach}"
        ).to_arrow_table()
        return found

    def _moments(self) -> str:
        return " UNION ALL ".join(
            f"SELECT {self._keys}, {quote(source.time)} AS mlops_box_at, {_EFFECTIVE}, {NUMBER} FROM {_events(source)}"
            for source in self._definition.sources
        )

    def _number(self, sql: str) -> int:
        return int(self._connection.execute(sql).fetchall()[0][0])


@contextlib.contextmanager
def event_parts(
    definition: Definition, own: Mapping[str, Path], pushed: Mapping[str, pa.Table], *, scratch: Path
) -> Iterator[EventParts]:
    """Open an engine over the events of a definition.

    Args:
        own: By source: its own file's events, as Parquet.
        pushed: By source: the pushed events, with their numbers. Those that the file has as well are not taken twice.

    Raises:
        StorageError: Memory or scratch space are not enough.
    """
    what = f"feature view {definition.name!r} cannot be materialised"
    with engine(scratch=scratch, files=list(own.values())) as connection, translated(what=what):
        for source in definition.sources:
            connection.register(f"{_events(source)}_pushed", pushed[source.name])
            connection.execute(_union(definition, source, own[source.name]))
        yield EventParts(connection, definition, scratch)


def _union(definition: Definition, source: Source, own: Path) -> str:
    columns = ", ".join(quote(column.name) for column in source.columns)
    known = f"coalesce({quote(source.known)}, {quote(source.time)})" if source.known else quote(source.time)
    present = " AND ".join(f"{quote(column)} IS NOT NULL" for column in [source.time, *definition.keys])
    relation = f"read_parquet({path_literal(own)})"
    return (
        f"CREATE VIEW {_events(source)} AS SELECT *, epoch_us(greatest({quote(source.time)}, {known})) AS {_EFFECTIVE} FROM ("
        f"SELECT {columns}, CAST(NULL AS BIGINT) AS {NUMBER} FROM {relation} UNION ALL "
        f"SELECT {columns}, {NUMBER} FROM {_events(source)}_pushed AS p ANTI JOIN {relation} AS o ON {same_event(source, 'p', 'o')}) WHERE {present}"
    )


def _events(source: Source) -> str:
    return f"mlops_box_all_{source.name}"
