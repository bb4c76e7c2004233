"""Laws that every view keeps, tried on samples of its own events before it is registered.

* Per entity: an entity's rows are the same whether the others are there or not.
* No looking ahead: a row is the same before and after later events happen.
* Any order: a row does not depend on the order in which events are delivered.
* Lookback: a row needs no events older than the declared ``lookback``.

The store may then compute one entity from its latest events, and answer what was known at any moment.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlops_box.data.engine import engine
from mlops_box.data.relation import path_literal
from mlops_box.data.sql import name as quote
from mlops_box.features.definition import Definition, Source
from mlops_box.features.sql_check import Place
from mlops_box.features.workspace import HAPPENED, Workspace, workspace

# As many entities stand together; so many are tried alone, each at so many moments.
_ENTITIES, _ALONE, _MOMENTS = 40, 3, 3
_MOST_EVENTS = 2_000
# Sums of floating-point numbers depend on their order in the last digits.
_RELATIVE = 1e-9

Key = tuple[Any, ...]
Rows = dict[tuple[Key, datetime], tuple[Any, ...]]


@dataclass(frozen=True)
class _Broken:
    """A row that is one thing here and another there."""

    key: Key
    time: datetime
    feature: str
    one: Any
    other: Any


def check_laws(definition: Definition, events: Mapping[str, Path], *, place: Place, scratch: Path) -> None:
    """Try the laws on a sample; a view without events keeps them all.

    Args:
        definition: The view.
        events: A Parquet file of each source.
        place: Where its SQL is written.
        scratch: For DuckDB.

    Raises:
        ProjectError: A law is broken, with the row that shows it.
        SourceError: The SQL fails on these events.
    """
    sample = _sample(definition, events, scratch)
    with workspace(definition, sample, scratch=scratch) as opened:
        together = _run(opened, "")
        keys = list(dict.fromkeys(key for key, _ in together))[:_ALONE]
        for key in keys:
            own = {place: row for place, row in together.items() if place[0] == key}
            _try_alone(definition, opened, key, own, place)
            for moment in _moments(own):
                _try_at(definition, opened, key, own, moment, place)
    backwards = {
        name: table.take(pa.array(range(table.num_rows)[::-1], pa.int64())) for name, table in sample.items()
    }
    with workspace(definition, backwards, scratch=scratch) as opened:
        if broken := _difference(definition, together, _run(opened, "")):
            raise place.error(
                f"view {definition.name!r} depends on the order of delivery: {_told(definition, broken)} when the events "
                "come in another order",
                hint="let windows end by time (RANGE, not ROWS), and order by more where times may be equal",
            )


def _try_alone(definition: Definition, opened: Workspace, key: Key, own: Rows, place: Place) -> None:
    if broken := _difference(definition, own, _run(opened, f"WHERE {_is(definition, key)}")):
        raise place.error(
            f"view {definition.name!r} is not per entity: {_told(definition, broken)} without the other entities",
            hint=f"partition windows and group by {', '.join(definition.keys)}",
        )


def _try_at(
    definition: Definition, opened: Workspace, key: Key, own: Rows, moment: datetime, place: Place
) -> None:
    before = f"WHERE {_is(definition, key)} AND e.{HAPPENED} <= {_literal(moment)}"
    expected = {where: row for where, row in own.items() if where[1] <= moment}
    if broken := _difference(definition, expected, _run(opened, before)):
        raise place.error(
            f"view {definition.name!r} looks ahead: {_told(definition, broken)} before later events have happened",
            hint="let windows end at the current row: range between interval 1 hour preceding and current row",
        )
    if definition.lookback is not None:
        recent = f"{before} AND e.{HAPPENED} >= {_literal(moment - definition.lookback)}"
        newest = {where: row for where, row in expected.items() if where[1] == moment}
        found = {where: row for where, row in _run(opened, recent).items() if where[1] == moment}
        if broken := _difference(definition, newest, found):
            raise place.error(
                f"view {definition.name!r} looks further back than its lookback: {_told(definition, broken)} "
                "from the events within it",
                hint="make lookback as long as the longest window, or leave it out",
            )


def _run(opened: Workspace, clause: str) -> Rows:
    opened.scope(clause)
    width = len(opened.definition.keys)
    rows = opened.rows(f"SELECT * FROM ({opened.found()}) ORDER BY {opened.keys}, time")
    return {(row[:width], row[width]): row[width + 1 :] for row in rows}


def _difference(definition: Definition, one: Rows, other: Rows) -> _Broken | None:
    nothing = (None,) * len(definition.columns)
    for key, time in sorted({*one, *other}, key=repr):
        left, right = one.get((key, time), nothing), other.get((key, time), nothing)
        for column, first, second in zip(definition.features, left, right, strict=True):
            if not _same(first, second):
                return _Broken(key, time, column, first, second)
    return None


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_RELATIVE, abs_tol=1e-9) or (
            math.isnan(one) and math.isnan(other)
        )
    return bool(one == other)


def _told(definition: Definition, broken: _Broken) -> str:
    key = ", ".join(f"{column} = {value}" for column, value in zip(definition.keys, broken.key, strict=True))
    return f"{broken.feature} of {key} at {broken.time} is {broken.one}, but {broken.other}"


def _moments(own: Rows) -> Iterator[datetime]:
    """Some of an entity's moments, early, in the middle and late."""
    times = sorted({time for _, time in own})
    places = sorted(
        {round((len(times) - 1) * part / (_MOMENTS + 1)) for part in range(1, _MOMENTS + 1)} | {0}
    )
    yield from (times[place] for place in places if place < len(times))


def _is(definition: Definition, key: Key) -> str:
    parts = zip(definition.keys, key, strict=True)
    return " AND ".join(f"CAST(e.{quote(column)} AS VARCHAR) = {_text(value)}" for column, value in parts)


def _text(value: Any) -> str:
    from mlops_box.data.sql import literal

    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return literal(shown)


def _literal(moment: datetime) -> str:
    return f"TIMESTAMP '{moment.isoformat(sep=' ')}'"


def _sample(definition: Definition, events: Mapping[str, Path], scratch: Path) -> dict[str, pa.Table]:
    """All events of some entities that have several, the same ones in every source."""
    keys = ", ".join(quote(column) for column in definition.keys)
    with engine(scratch=scratch, files=list(events.values())) as connection:
        united = " UNION ALL ".join(f"SELECT {keys} FROM {_relation(path)}" for path in events.values())
        connection.execute(
            f"CREATE TABLE chosen AS SELECT {keys} FROM ({united}) GROUP BY {keys} HAVING count(*) <= {_MOST_EVENTS} "
            f"ORDER BY least(count(*), 20) DESC, hash({keys}) LIMIT {_ENTITIES}"
        )
        return {
            source.name: _events(connection, source, events[source.name], keys)
            for source in definition.sources
        }


def _events(connection: Any, source: Source, path: Path, keys: str) -> pa.Table:
    table: pa.Table = connection.sql(
        f"FROM {_relation(path)} SEMI JOIN chosen USING ({keys})"
    ).to_arrow_table()
    return table.take(pc.sort_indices(table, sort_keys=[(source.time, "ascending")]))


def _relation(path: Path) -> str:
    return f"read_parquet({path_literal(path)})"
