"""Pushed events: checked against their source's columns, kept durably, given back by entity and by time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson
import pyarrow as pa

from mlops_box.canonical import sha256_hex
from mlops_box.clock import to_us
from mlops_box.data.rows import ColumnCheck
from mlops_box.data.sift import arrow_schema
from mlops_box.data.values import Column
from mlops_box.db import Transaction
from mlops_box.errors import UsageError
from mlops_box.features.definition import Definition, Source
from mlops_box.features.online import OnlineStore, key_text, mark_in, set_mark
from mlops_box.features.pushed import EventsRefused
from mlops_box.project import ColumnRule

# Beside a pushed event's own columns: its number, which grows with every event that arrives.
NUMBER = "mlops_box_number"
_FIRST_DAY = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a source.

    Attributes:
        id: Two of one id are one event.
        row: Its values by column, in the types of the source; times are microseconds since 1970, days are days since.
        time_us, known_us: When it happened and when it was known.
    """

    id: str
    row: dict[str, Any]
    time_us: int
    known_us: int

    def packed(self) -> bytes:
        return orjson.dumps(self.row)


class EventDoor:
    """Checks and reads the events of one source.

    Args:
        entities: The columns that name an entity in any view over the source; they may not be missing.
    """

    def __init__(self, source: Source, entities: Iterable[str]):
        needed = {source.time, *entities}
        self._source = source
        self._columns = source.columns
        self._checks = {
            column.name: ColumnCheck(
                column.name,
                ColumnRule.model_validate({"type": column.type, "null": column.name not in needed}),
            )
            for column in source.columns
        }

    def read(
        self, rows: Sequence[Any], *, arrived: datetime, ids: Sequence[str] | None = None
    ) -> list[Event]:
        """The events.

        Args:
            rows: Objects by column; a column that is absent is missing.
            arrived: When an event was known that does not say so itself.
            ids: What tells two events apart; ``None``: their content.

        Raises:
            EventsRefused: See there; every problem of every row is looked for.
            UsageError: No events, or another number of ids.
        """
        if not rows:
            raise UsageError("there is no event to push", hint='send {"events": [{...}]}')
        if ids is not None and (
            len(ids) != len(rows) or not all(isinstance(id_, str) and id_ for id_ in ids)
        ):
            raise UsageError(f"{len(rows)} events need as many ids, each a text", hint="or leave `ids` out")
        problems = [{"row": index, **told} for index, row in enumerate(rows) for told in self._problems(row)]
        if problems:
            raise EventsRefused(problems)
        return [
            self._event(row, arrived, ids[index] if ids is not None else None)
            for index, row in enumerate(rows)
        ]

    def _problems(self, row: Any) -> list[dict[str, Any]]:
        if not isinstance(row, dict):
            message = f"it is no object but {type(row).__name__}"
            return [{"column": None, "rule": "row.type", "message": message}]
        found = [
            {
                "column": name[:100], "rule": "unknown_column",
                "message": f"{name[:100]!r} is no column of source {self._source.name!r}",
            }
            for name in row
            if name not in self._checks
        ]  # fmt: skip
        for name, check in self._checks.items():
            found += [problem.to_dict() for problem in check(row.get(name))]
        return found

    def _event(self, row: Mapping[str, Any], arrived: datetime, id_: str | None) -> Event:
        values = {column.name: self._value(column, row.get(column.name)) for column in self._columns}
        time_us = values[self._source.time]
        known_us = time_us
        if self._source.known is not None:
            known_us = values[self._source.known]
            if known_us is None:
                known_us = values[self._source.known] = to_us(arrived)
        return Event(id_ or content_id(self._source, values), values, time_us, known_us)

    def _value(self, column: Column, given: Any) -> Any:
        value = self._checks[column.name].typed(given)
        if isinstance(value, datetime):
            return to_us(value)
        return (value - _FIRST_DAY).days if isinstance(value, date) else value


class EventLog:
    """The events in the online store's file: those that were pushed, and those of a source's file that windows still
    reach back to."""

    def __init__(self, store: OnlineStore):
        self._store = store

    def append(
        self, tx: Transaction, source: str, declared: Source, events: Sequence[Event], *, pushed: bool = True
    ) -> list[Event]:
        """Keep events; those that are there already are left out of what is returned.

        Args:
            source: The :func:`source_key`.
            pushed: Otherwise they lie in the source's own file as well.

        Raises:
            EventsRefused: An id stands for another event already.
        """
        ids = orjson.dumps([event.id for event in events]).decode()
        known = {
            str(row["id"]): bytes(row["row"])
            for row in tx.read(
                "SELECT id, row FROM events WHERE source = ? AND id IN (SELECT value FROM json_each(?))",
                (source, ids),
            )
        }
        fresh: dict[str, Event] = {}
        problems = []
        for index, event in enumerate(events):
            before = known.get(event.id) or (fresh[event.id].packed() if event.id in fresh else None)
            if before is None:
                fresh[event.id] = event
            elif not _same(declared, before, event):
                message = f"the id {event.id[:60]!r} stands for another event already"
                problems.append({"row": index, "column": None, "rule": "id.conflict", "message": message})
        if problems:
            raise EventsRefused(problems)
        tx.execute_many(
            "INSERT INTO events (source, id, time_us, known_us, pushed, row) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (source, event.id, event.time_us, event.known_us, int(pushed), event.packed())
                for event in fresh.values()
            ],
        )
        return list(fresh.values())

    def index(self, tx: Transaction, source: str, keys: tuple[str, ...]) -> None:
        """Make the events findable by the entity that ``keys`` name; goes on where it ended the last time."""
        columns = ",".join(keys)
        name = f"indexed:{source}:{columns}"
        found = tx.read(
            "SELECT number, time_us, row FROM events WHERE source = ? AND number > ? ORDER BY number",
            (source, mark_in(tx, name)),
        )
        if not found:
            return
        entries = []
        for event in found:
            values = orjson.loads(event["row"])
            entity = key_text([values.get(key) for key in keys])
            entries.append((source, columns, entity, event["time_us"], event["number"]))
        tx.execute_many("INSERT OR IGNORE INTO entity_events VALUES (?, ?, ?, ?, ?)", entries)
        set_mark(tx, name, found[-1]["number"])

    def of_entities(
        self, tx: Transaction, source: str, declared: Source, keys: tuple[str, ...], entities: Sequence[str], from_us: int
    ) -> pa.Table:  # fmt: skip
        """The events of entities from ``from_us`` on, with the source's columns."""
        rows = tx.read(
            "SELECT e.row FROM json_each(?) AS wanted CROSS JOIN entity_events AS k ON k.source = ? AND k.columns = ? "
            "AND k.entity = wanted.value AND k.time_us >= ? JOIN events AS e ON e.number = k.number",
            (orjson.dumps(entities).decode(), source, ",".join(keys), from_us),
        )
        return event_table(declared, [row["row"] for row in rows])

    def after(self, source: str, number: int, declared: Source) -> pa.Table:
        """The pushed events with greater numbers than ``number``, in their order: an :func:`event_schema`."""
        rows = self._store.db.tuples(
            "SELECT number, row FROM events WHERE source = ? AND number > ? AND pushed = 1 ORDER BY number",
            (source, number),
        )
        numbers = pa.array([number for number, _ in rows], pa.int64())
        return event_table(declared, [row for _, row in rows]).append_column(NUMBER, numbers)

    def count_after(self, source: str, number: int) -> int:
        """How many pushed events have greater numbers than ``number``."""
        rows = self._store.db.tuples(
            "SELECT count(*) FROM events WHERE source = ? AND number > ? AND pushed = 1", (source, number)
        )
        return int(rows[0][0])


def source_key(definition: Definition, name: str) -> str:
    """What a source is called in the box, where several projects may have one of that name."""
    return f"{definition.project}/{name}"


def event_table(source: Source, rows: Sequence[bytes]) -> pa.Table:
    """Stored events as a table with the source's columns."""
    values = [orjson.loads(row) for row in rows]
    schema = arrow_schema(source.columns)
    arrays = [pa.array([row.get(item.name) for row in values], item.type) for item in schema]
    return pa.table(arrays, schema=schema)


def event_schema(source: Source) -> Any:
    """The source's columns and :data:`NUMBER`."""
    return arrow_schema(source.columns).append(pa.field(NUMBER, pa.int64()))


def entity_of(event: Event, keys: Sequence[str]) -> str:
    """The spelling of the entity that ``keys`` name."""
    return key_text([event.row.get(key) for key in keys])


def content_id(source: Source, row: Mapping[str, Any]) -> str:
    """The id of an event that has none: its content, but for when it was known."""
    told = {name: value for name, value in row.items() if value is not None and name != source.known}
    return sha256_hex(orjson.dumps(told))


def _same(source: Source, stored: bytes, event: Event) -> bool:
    """Whether a stored event says the same, but for when it was known."""
    return content_id(source, orjson.loads(stored)) == content_id(source, event.row)
