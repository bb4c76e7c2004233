"""Observations: what a view's SQL says of its entities, with the moment each was known. One code path for all uses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlops_box.data.engine import translated
from mlops_box.data.sift import ParquetSink, arrow_schema
from mlops_box.data.values import Column
from mlops_box.features.definition import Definition
from mlops_box.features.history import make_history
from mlops_box.features.workspace import Events, Workspace, workspace

# The columns of observations beside keys and features.
TIME, KNOWN, SINCE = "time", "known", "since"
RESERVED = (TIME, KNOWN, SINCE)
_BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class Written:
    """Observations in a Parquet file. ``late``: some were known after a newer one was, see :class:`FeatureView`."""

    path: Path
    rows: int
    late: bool


def observations(
    definition: Definition, events: Mapping[str, Events], *, scratch: Path, memory_limit: str | None = None
) -> pa.Table:
    """Run a view over events.

    Args:
        definition: The view.
        events: By source name: a table, or Parquet files, with the source's columns. Times without a zone are UTC.
            Events without a time or an entity are left out.
        scratch: A folder for what does not fit into memory.
        memory_limit: DuckDB's bound, for example ``"512MB"``; ``None``: the data room's.

    Returns:
        Sorted by entity, ``time`` and ``known``: the entity's columns, ``time`` (the observation is true from then
        on), ``known`` (and was known from then on), ``since`` (the event time that its age is counted from: equal to
        ``time``, but where a correction took back what had been observed then), and the features. All times are UTC,
        without zone. Of one entity and time, a later ``known`` corrects an earlier one. An observation depends on
        nothing that was known later than its ``known``, nor happened later than its ``time``.

    Raises:
        SourceError: Events lack a column or hold values of another type, or the SQL fails on them.
        StorageError: Memory or scratch space are not enough.
    """
    with _observed(definition, events, scratch, memory_limit) as (opened, sql, _):
        table = opened.connection.sql(sql).to_arrow_table()
    return table.cast(observation_schema(definition))


def write_observations(
    definition: Definition,
    events: Mapping[str, Events],
    target: Path,
    *,
    scratch: Path,
    memory_limit: str | None = None,
) -> Written:
    """The same into a Parquet file, of whatever size: same events, same bytes.

    Raises:
        SourceError: See :func:`observations`.
        StorageError: Memory or scratch space are not enough.
    """
    schema = observation_schema(definition)
    rows = 0
    with (
        _observed(definition, events, scratch, memory_limit) as (opened, sql, late),
        ParquetSink(target, schema, {"mlops-box.view": definition.digest}) as sink,
    ):
        for batch in opened.connection.sql(sql).to_arrow_reader(_BATCH_ROWS):
            sink.write(pa.Table.from_batches([batch]).cast(schema))
            rows += batch.num_rows
    return Written(target, rows, late)


def observation_schema(definition: Definition) -> Any:
    """The Arrow schema of a view's observations."""
    times = tuple(Column(column, "timestamp") for column in RESERVED)
    features = tuple(Column(column.name, column.type) for column in definition.columns)
    return arrow_schema((*definition.entity, *times, *features))


@contextlib.contextmanager
def _observed(
    definition: Definition, events: Mapping[str, Events], scratch: Path, memory_limit: str | None
) -> Iterator[tuple[Workspace, str, bool]]:
    with (
        workspace(definition, events, scratch=scratch, memory_limit=memory_limit) as opened,
        translated(what=f"feature view {definition.name!r} cannot be computed"),
    ):
        relation, late = make_history(opened)
        sql = f"SELECT {opened.keys}, time, known, since, {opened.values} FROM {relation} ORDER BY {opened.keys}, time, known"
        yield opened, sql, late
