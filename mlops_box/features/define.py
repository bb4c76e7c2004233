"""From what a project declares to definitions: read the sources, check the SQL, find the columns, prove the laws."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from mlops_box.data.convert import vocabulary
from mlops_box.data.engine import readable
from mlops_box.data.relation import describe, missing_column
from mlops_box.data.values import Column
from mlops_box.errors import SourceError
from mlops_box.features.columns import feature_columns
from mlops_box.features.definition import Definition, NamedSql, Source, digest_of_view
from mlops_box.features.laws import check_laws
from mlops_box.features.places import place_of_key, place_of_source, place_of_sql
from mlops_box.features.sources import ReadSource, read_source
from mlops_box.features.sql_check import Place, line_of, nearest, tables_read
from mlops_box.features.workspace import workspace
from mlops_box.project import LoadedProject


@dataclass(frozen=True)
class Defined:
    """A project's views and the events they read. Nothing is registered yet."""

    definitions: dict[str, Definition]
    sources: dict[str, ReadSource]


def define(
    project: LoadedProject,
    *,
    scratch: Path,
    proven: Collection[str] = (),
    only: Collection[str] | None = None,
) -> Defined:
    """Check a project's feature views and everything they rest on. Nothing is written outside ``scratch``.

    Args:
        project: Declares them.
        scratch: A folder for events.
        proven: Digests of definitions whose laws were checked before.
        only: The views that are wanted, with those they read; ``None``: all.

    Raises:
        ProjectError: A definition is wrong; the message names file and line.
        SourceError: A source cannot be read.
    """
    declared = project.declaration.features
    reads = _reads(project, only)
    sources: dict[str, ReadSource] = {}
    definitions: dict[str, Definition] = {}
    for name in reads:
        below = _below(name, reads)
        read = {table for view in (*below, name) for table in reads[view]}
        names = [source for source in declared.sources if source in read]
        for source in names:
            if source not in sources:
                sources[source] = _read(project, source, scratch)
        used = tuple(sources[source].source for source in names)
        upstream = tuple(NamedSql(view, declared.views[view].sql or "") for view in below)
        definition = _bound(project, name, used, upstream, scratch)
        if definition.digest not in proven:
            events = {source.name: sources[source.name].events for source in used}
            check_laws(definition, events, place=place_of_sql(project, name), scratch=scratch)
        definitions[name] = definition
    return Defined(definitions, sources)


def _read(project: LoadedProject, name: str, scratch: Path) -> ReadSource:
    try:
        return read_source(
            name, project.declaration.features.sources[name], folder=project.folder, scratch=scratch
        )
    except SourceError as error:
        where = place_of_source(project, name, "time").error(error.message).message
        raise SourceError(where, hint=error.hint, details=error.details) from None


def _reads(project: LoadedProject, only: Collection[str] | None) -> dict[str, dict[str, int]]:
    """What each wanted view reads, with the line of its SQL; views come after those that they read."""
    declared = project.declaration.features
    connection = duckdb.connect(
        ":memory:", config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    )
    ordered: dict[str, dict[str, int]] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in ordered:
            return
        place = place_of_sql(project, name)
        reads = tables_read(connection, declared.views[name].sql or "", place)
        for table, line in reads.items():
            if table in (*path, name):
                ring = " reads ".join(
                    [*path[path.index(table) if table in path else len(path) :], name, table]
                )
                raise place.error(f"views read each other in a ring: {ring}", line=line)
            if table in declared.views:
                visit(table, (*path, name))
            elif table not in declared.sources:
                known = [*declared.sources, *declared.views]
                raise place.error(
                    f"there is no source or view {table!r}", line=line, hint=nearest(table, known)
                )
        if not reads:
            raise place.error("it reads no source", hint="select ... from a source under [features.sources]")
        ordered[name] = reads

    try:
        for name in declared.views if only is None else only:
            visit(name, ())
    finally:
        connection.close()
    return ordered


def _below(name: str, reads: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The views that a view reads, directly or through others, each after those that it reads itself."""
    wanted: set[str] = set()
    waiting = [name]
    while waiting:
        for table in reads[waiting.pop()]:
            if table in reads and table not in wanted:
                wanted.add(table)
                waiting.append(table)
    return [view for view in reads if view in wanted]


def _bound(
    project: LoadedProject,
    name: str,
    sources: tuple[Source, ...],
    upstream: tuple[NamedSql, ...],
    scratch: Path,
) -> Definition:
    """The definition with the columns that its SQL gives."""
    view, place = project.declaration.features.views[name], place_of_sql(project, name)
    draft = Definition(
        project=project.name, name=name, version=0, digest="",
        entity=tuple(Column(column, "varchar") for column in view.entity), time=view.time, ttl=view.ttl,
        lookback=view.lookback, columns=(), sql=view.sql or "", sources=sources, upstream=upstream,
        owner=view.owner, description=view.description, file=view.file,
    )  # fmt: skip
    for source in sources:
        present = {column.name for column in source.columns}
        for column in view.entity:
            if column not in present:
                missing = missing_column(column, present, role="the entity")
                raise place_of_key(project, name, "entity").error(
                    f"source {source.name!r}: {missing.message}", hint=missing.hint
                )
    types = _types(draft, place, scratch)
    for column, role, key in [*((column, "its entity", "entity") for column in view.entity), (view.time, "its event time", "time")]:  # fmt: skip
        if column not in types:
            missing = missing_column(column, types, role=role)
            raise place_of_key(project, name, key).error(
                f"the SQL of view {name!r} returns no column {column!r}, {role}", hint=missing.hint
            )
    if vocabulary(types[view.time]) not in ("timestamp", "date"):
        raise place_of_key(project, name, "time").error(
            f"{view.time!r}, the event time of view {name!r}, is {types[view.time]}, no time",
            hint="cast it in the SQL",
        )
    entity = tuple(Column(column, vocabulary(types[column])) for column in view.entity)
    columns = feature_columns(project, name, {key: kind for key, kind in types.items() if key not in {*view.entity, view.time}})  # fmt: skip
    whole = replace(draft, entity=entity, columns=columns)
    return replace(whole, digest=digest_of_view(whole))


def _types(draft: Definition, place: Place, scratch: Path) -> dict[str, str]:
    """DuckDB types of what the SQL returns."""
    try:
        with workspace(draft, {source.name: [] for source in draft.sources}, scratch=scratch) as opened:
            return describe(opened.connection, f"({draft.sql.strip().rstrip(';')}\n)")
    except SourceError as error:
        cause = error.__cause__
        if not isinstance(cause, duckdb.Error):
            raise
        lead = len(draft.sql[: len(draft.sql) - len(draft.sql.lstrip())].splitlines())
        hint = next(
            (line for line in str(cause).splitlines() if line.startswith(("Candidate", "Did you mean"))), None
        )
        message = readable(cause).removesuffix(hint or "").strip()
        raise place.error(message, line=line_of(cause) + lead, hint=hint) from None
