"""A source's events, read from the project's files into one Parquet file with typed columns."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlops_box.data.convert import passthrough, vocabulary
from mlops_box.data.engine import engine, translated
from mlops_box.data.relation import Relation, missing_column, path_literal, select_list
from mlops_box.data.sift import ParquetSink, arrow_schema
from mlops_box.data.source import Located, locate, open_source, readable_files
from mlops_box.data.sql import name as quote
from mlops_box.data.values import Column, ColumnType
from mlops_box.errors import SourceError
from mlops_box.features.definition import Source
from mlops_box.project.features import FeatureSource

# More unreadable events than this share, and the source is refused.
TOLERATED = 0.01
_BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class ReadSource:
    """A source and its events. ``rejected`` could not be parsed and are in none of the other numbers."""

    source: Source
    events: Path
    located: Located
    rows: int
    rejected: int

    def lineage(self) -> dict[str, Any]:
        """Where the events came from, for a snapshot."""
        return {
            "source": self.source.source, "files": [file.to_dict() for file in self.located.files],
            "events": self.rows, "rejected": self.rejected,
        }  # fmt: skip


def read_source(name: str, declared: FeatureSource, *, folder: Path, scratch: Path) -> ReadSource:
    """Read all events of a source.

    Args:
        name: Its name.
        declared: What ``mlops.toml`` says of it.
        folder: The project's.
        scratch: Where the events are written, in a folder of the source's name.

    Raises:
        SourceError: It cannot be read, has no event time, or more than 1 % of its events cannot be parsed.
        StorageError: Memory or scratch space are not enough.
    """
    located = locate(declared.source, folder=folder)
    work = scratch / name
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    times: dict[str, ColumnType] = {declared.time: "timestamp"}
    if declared.known:
        times[declared.known] = "timestamp"
    target = work / "events.parquet"
    with engine(scratch=work, files=readable_files(located, work)) as connection:
        # Through a query, as every typed reading: what is not of its column's type is a reject.
        relation = open_source(
            connection, located, declared=times | declared.types, query=declared.query or "SELECT * FROM source",
            table=declared.table, scratch=work,
        )  # fmt: skip
        columns = _columns(relation, name, declared)
        rows = _write(connection, relation, columns, target)
        rejects = relation.rejects()
        first = next(rejects, None)
        rejected = sum(1 for _ in itertools.chain([first] if first else [], rejects))
    located.check_unchanged()
    if first is not None and rejected > TOLERATED * (rows + rejected):
        raise SourceError(
            f"{rejected:,} of {rows + rejected:,} events of feature source {name!r} cannot be read: "
            f"{first.file}, line {first.line}: {first.reason}",
            hint=f"mend the file, or say its type: [features.sources.{name}] types = {{ ... }}",
        )
    source = Source(
        name, declared.source, declared.table, declared.query, declared.time, declared.known, columns
    )
    return ReadSource(source, target, located, rows, rejected)


def declaration_of(source: Source) -> FeatureSource:
    """What ``mlops.toml`` said of a source, with the types that its columns had."""
    return FeatureSource(
        source=source.source, table=source.table, query=source.query, time=source.time, known=source.known,
        types={column.name: column.type for column in source.columns},
    )  # fmt: skip


def same_event(source: Source, one: str, other: str) -> str:
    """SQL: do two rows tell of the same event? When it was known does not count."""
    told = [quote(column.name) for column in source.columns if column.name != source.known]
    return " AND ".join(f"{one}.{column} IS NOT DISTINCT FROM {other}.{column}" for column in told)


def with_pushed(source: Source, own: Path, pushed: pa.Table, *, scratch: Path) -> list[Path]:
    """A source's events with those that were pushed and are not in its files, as Parquet files.

    Args:
        source: The source.
        own: The events of its files.
        pushed: With the source's columns.
        scratch: Where the pushed ones are written.

    Raises:
        StorageError: Memory or scratch space are not enough.
    """
    if not pushed.num_rows:
        return [own]
    target = scratch / f"{source.name}-pushed.parquet"
    columns = ", ".join(quote(column.name) for column in source.columns)
    schema = arrow_schema(source.columns)
    with (
        engine(scratch=scratch, files=[own]) as connection,
        translated(),
        ParquetSink(target, schema, {}) as sink,
    ):
        connection.register("pushed_events", pushed)
        sql = (
            f"SELECT {columns} FROM pushed_events AS p "
            f"ANTI JOIN read_parquet({path_literal(own)}) AS o ON {same_event(source, 'p', 'o')}"
        )
        sink.write(connection.sql(sql).to_arrow_table().cast(schema))
    return [own, target]


def _columns(relation: Relation, name: str, declared: FeatureSource) -> tuple[Column, ...]:
    found = {column: vocabulary(kind) for column, kind in relation.columns.items()}
    roles = {declared.time: "the event time"} | (
        {declared.known: "the time it was known"} if declared.known else {}
    )
    for column, role in [*roles.items(), *((column, "given a type") for column in declared.types)]:
        if column not in found:
            raise missing_column(column, found, role=f"{role} of feature source {name!r}")
    for column, role in roles.items():
        if found[column] not in ("timestamp", "date"):
            raise SourceError(
                f"{column!r}, {role} of feature source {name!r}, holds {found[column]}, no times",
                hint="times are ISO 8601; a query can make them: query = \"select strptime(t, '%d.%m.%Y') as t, ...\"",
            )
        found[column] = "timestamp"
    return tuple(Column(column, kind) for column, kind in found.items())


def _write(connection: Any, relation: Relation, columns: tuple[Column, ...], target: Path) -> int:
    schema = arrow_schema(columns)
    values = {
        column.name: f"CAST({passthrough(quote(column.name), relation.columns[column.name])} AS {column.type})"
        for column in columns
    }
    rows = 0
    with translated(), ParquetSink(target, schema, {}) as sink:
        reader = connection.sql(f"SELECT {select_list(values)} FROM {relation.sql}").to_arrow_reader(
            _BATCH_ROWS
        )
        for batch in reader:
            sink.write(pa.Table.from_batches([batch]).cast(schema))
            rows += batch.num_rows
    return rows
