"""A feature view as it was checked and numbered: all that is needed to compute it again, and its digest."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from mlops_box.canonical import digest_of
from mlops_box.data.values import Column, ColumnType
from mlops_box.project import ColumnRule
from mlops_box.project.declared import Scalar
from mlops_box.project.features import SEPARATOR

_TOKENS = re.compile(
    r"""(?P<kept>'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)"""
    r"""|(?P<gap>(?:--[^\n]*|/\*.*?\*/|\s)+)""",
    re.DOTALL,
)


@dataclass(frozen=True)
class Source:
    """Events that views read, under ``name``.

    Attributes:
        source: A file or glob, relative to the project's folder.
        time: The column of the event time.
        known: The column that says when the event was known; ``None``: the moment it happened.
        columns: All of an event's columns, with their types in the contract's vocabulary. Times are UTC, without zone.
    """

    name: str
    source: str
    table: str | None
    query: str | None
    time: str
    known: str | None
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class FeatureColumn:
    """One feature.

    Attributes:
        type: In the contract's vocabulary.
        ttl: An observation older than this does not count; ``None``: it counts for ever.
        default: Stands for a missing value: no observation, one that is too old, or a null in it.
        rule: What its values must be, as a column of the contract.
    """

    name: str
    type: ColumnType
    ttl: timedelta | None
    default: Scalar | None
    rule: ColumnRule


@dataclass(frozen=True)
class NamedSql:
    """A view that another one reads."""

    name: str
    sql: str


@dataclass(frozen=True)
class Definition:
    """One version of a feature view. Two of one digest mean the same.

    Attributes:
        project: Whose ``mlops.toml`` declares it.
        version: 1, 2 ... as registered; 0 while it is not.
        digest: See :func:`digest_of_view`; features, not people: owner, description and rules are not in it.
        entity: The columns that name the entity, with their types; every source has them.
        time: The column of the SQL's result that says from when on a row is true.
        ttl: Of its observations, where a feature has no other.
        lookback: A row at t looks at events from ``t - lookback`` on (inclusive); ``None``: at all before it.
        sql: One SELECT over ``sources`` and ``upstream``.
        upstream: The views it reads, each after those that it reads itself.
    """

    project: str
    name: str
    version: int
    digest: str
    entity: tuple[Column, ...]
    time: str
    ttl: timedelta | None
    lookback: timedelta | None
    columns: tuple[FeatureColumn, ...]
    sql: str
    sources: tuple[Source, ...]
    upstream: tuple[NamedSql, ...] = ()
    owner: str = ""
    description: str = ""
    file: str | None = field(default=None, compare=False)

    @property
    def ref(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the entity columns."""
        return tuple(column.name for column in self.entity)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features, in the order of the SQL's result."""
        return tuple(column.name for column in self.columns)

    @property
    def punctual(self) -> bool:
        """Is every event known the moment it happens, because no source says otherwise?"""
        return all(source.known is None for source in self.sources)

    def column(self, feature: str) -> FeatureColumn:
        return next(column for column in self.columns if column.name == feature)

    def source(self, name: str) -> Source:
        return next(source for source in self.sources if source.name == name)

    def in_model(self, feature: str) -> str:
        """What the feature is called in a model's signature and in joined rows: ``view__feature``."""
        return f"{self.name}{SEPARATOR}{feature}"


def digest_of_view(definition: Definition) -> str:
    """Changes when, and only when, the meaning of the view changes; spaces and comments in the SQL mean nothing."""
    return digest_of(
        {
            "name": definition.name,
            "entity": [[column.name, column.type] for column in definition.entity],
            "time": definition.time,
            "sql": canonical_sql(definition.sql),
            "upstream": {view.name: canonical_sql(view.sql) for view in definition.upstream},
            "sources": {source.name: _source_to_dict(source) for source in definition.sources},
            "ttl": _microseconds(definition.ttl),
            "lookback": _microseconds(definition.lookback),
            "columns": [
                [column.name, column.type, _microseconds(column.ttl), column.default]
                for column in definition.columns
            ],
        }
    )


def canonical_sql(sql: str) -> str:
    """SQL without comments and with single spaces; texts and quoted names stay as they are.

    >>> canonical_sql("select  'a  -- b' -- why\\n, x from t ;")
    "select 'a  -- b' , x from t"
    """
    return _TOKENS.sub(lambda found: found["kept"] or " ", sql).strip().rstrip(";").strip()


def definition_to_dict(definition: Definition) -> dict[str, Any]:
    """As JSON tells it, and as box.db keeps it."""
    return {
        "project": definition.project, "name": definition.name, "version": definition.version,
        "digest": definition.digest, "entity": [_column_to_dict(column) for column in definition.entity],
        "time": definition.time, "ttl_us": _microseconds(definition.ttl),
        "lookback_us": _microseconds(definition.lookback),
        "columns": [
            {
                "name": column.name, "type": column.type, "ttl_us": _microseconds(column.ttl),
                "default": column.default,
                "rule": column.rule.model_dump(mode="json", by_alias=True, exclude_defaults=True),
            }
            for column in definition.columns
        ],
        "sql": definition.sql,
        "sources": [{"name": source.name, **_source_to_dict(source)} for source in definition.sources],
        "upstream": [{"name": view.name, "sql": view.sql} for view in definition.upstream],
        "owner": definition.owner, "description": definition.description, "file": definition.file,
    }  # fmt: skip


def definition_from_dict(raw: dict[str, Any]) -> Definition:
    """The inverse of :func:`definition_to_dict`."""
    return Definition(
        project=raw["project"], name=raw["name"], version=raw["version"], digest=raw["digest"],
        entity=tuple(Column(**column) for column in raw["entity"]), time=raw["time"],
        ttl=_span(raw["ttl_us"]), lookback=_span(raw["lookback_us"]),
        columns=tuple(
            FeatureColumn(
                column["name"], column["type"], _span(column["ttl_us"]), column["default"],
                ColumnRule.model_validate(column["rule"]),
            )
            for column in raw["columns"]
        ),
        sql=raw["sql"],
        sources=tuple(
            Source(**(source | {"columns": tuple(Column(**column) for column in source["columns"])}))
            for source in raw["sources"]
        ),
        upstream=tuple(NamedSql(**view) for view in raw["upstream"]),
        owner=raw["owner"], description=raw["description"], file=raw["file"],
    )  # fmt: skip


def _source_to_dict(source: Source) -> dict[str, Any]:
    return {
        "source": source.source, "table": source.table, "query": source.query, "time": source.time,
        "known": source.known, "columns": [_column_to_dict(column) for column in source.columns],
    }  # fmt: skip


def _column_to_dict(column: Column) -> dict[str, str]:
    return {"name": column.name, "type": column.type}


def _microseconds(span: timedelta | None) -> int | None:
    return span // timedelta(microseconds=1) if span is not None else None


def _span(microseconds: int | None) -> timedelta | None:
    return timedelta(microseconds=microseconds) if microseconds is not None else None
