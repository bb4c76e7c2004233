"""A feature view: values of an entity over time, and how long each stays true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlops_box.errors import SourceError, UsageError
from mlops_box.features.compute import KNOWN, SINCE, TIME
from mlops_box.features.definition import Definition
from mlops_box.ids import check_name
from mlops_box.project.declared import Scalar


@dataclass(frozen=True)
class FeatureView:
    """What is known of an entity, and since when.

    Attributes:
        name: Its name.
        history: One row an observation: the ``entity`` columns, ``time``, optionally ``known``, and the features. A
            table, or Parquet files.
        entity: The columns that name the entity.
        time: When the observation was true (event time).
        known: When the box learnt of it; ``None`` when it is known the moment it happens. A late or corrected row has
            a later ``known`` than ``time``.
        ttl: Older observations count as missing; ``None`` for ever.
        since: The column that an observation's age is counted from; ``None``: ``time``.
        ttls: What differs from ``ttl``, by feature.
        defaults: What stands for a missing value, by feature.
        distinct: No two rows are of one entity and time, and nothing is known later than it happens: the join need
            not look for the row that counts. Never say so of rows of which it is not true.
    """

    name: str
    history: pa.Table | Sequence[Path]
    entity: tuple[str, ...]
    time: str
    known: str | None = None
    ttl: timedelta | None = None
    since: str | None = None
    ttls: Mapping[str, timedelta | None] = field(default_factory=dict)
    defaults: Mapping[str, Scalar] = field(default_factory=dict)
    distinct: bool = False

    def __post_init__(self) -> None:
        check_name(self.name, what="feature view")
        if not self.entity:
            raise UsageError(f"feature view {self.name!r} names no entity column")
        schema = self.schema
        times = [column for column in (self.time, self.known, self.since) if column]
        for column in [*self.entity, *times]:
            if column not in schema.names:
                raise SourceError(f"feature view {self.name!r}: its history has no column {column!r}")
        for column in times:
            if not pa.types.is_timestamp(schema.field(column).type):
                raise SourceError(f"feature view {self.name!r}: {column!r} must be a timestamp")
        if not self.features:
            raise UsageError(f"feature view {self.name!r} has no feature beside entity and time")

    @staticmethod
    def of(
        definition: Definition, history: pa.Table | Sequence[Path], *, distinct: bool = False
    ) -> FeatureView:
        """A definition over its observations, see :func:`mlops_box.features.compute.observations`.

        ``distinct`` may be said of a punctual definition's observations that were computed in one run.
        """
        return FeatureView(
            name=definition.name, history=history, entity=definition.keys, time=TIME,
            known=KNOWN, since=SINCE, ttl=definition.ttl,
            ttls={column.name: column.ttl for column in definition.columns},
            defaults={column.name: column.default for column in definition.columns if column.default is not None},
            distinct=distinct,
        )  # fmt: skip

    @cached_property
    def schema(self) -> Any:
        """The Arrow schema of its history."""
        import pyarrow.parquet as pq

        if isinstance(self.history, pa.Table):
            return self.history.schema
        if not self.history:
            raise UsageError(f"feature view {self.name!r} has no history")
        return pq.read_schema(self.history[0])

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features, in the order of the history's columns."""
        fixed = {*self.entity, self.time, self.known, self.since}
        return tuple(name for name in self.schema.names if name not in fixed)

    def ttl_of(self, feature: str) -> timedelta | None:
        """How old its observation may be; ``None``: as old as it likes."""
        return self.ttls.get(feature, self.ttl)
