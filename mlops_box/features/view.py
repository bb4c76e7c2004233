"""A feature view: values of an entity over time, and how long each stays true."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa

from mlops_box.canonical import digest_of
from mlops_box.errors import SourceError, UsageError
from mlops_box.ids import check_name


@dataclass(frozen=True)
class FeatureView:
    """What is known of an entity, and since when.

    Attributes:
        name: Its name.
        history: One row an observation: the ``entity`` columns, ``time``, optionally ``known``, and the features.
        entity: The columns that name the entity.
        time: When the observation was true (event time).
        known: When the box learnt of it; ``None`` when it is known the moment it happens. A late or corrected row has
            a later ``known`` than ``time``.
        ttl: Older observations count as missing; ``None`` for ever.
    """

    name: str
    history: pa.Table
    entity: tuple[str, ...]
    time: str
    known: str | None = None
    ttl: timedelta | None = None

    def __post_init__(self) -> None:
        check_name(self.name, what="feature view")
        if not self.entity:
            raise UsageError(f"feature view {self.name!r} names no entity column")
        wanted = [*self.entity, self.time, *([self.known] if self.known else [])]
        for column in wanted:
            if column not in self.history.column_names:
                raise SourceError(f"feature view {self.name!r}: its history has no column {column!r}")
        for column in [self.time, *([self.known] if self.known else [])]:
            if not pa.types.is_timestamp(self.history.schema.field(column).type):
                raise SourceError(f"feature view {self.name!r}: {column!r} must be a timestamp")
        if not self.features:
            raise UsageError(f"feature view {self.name!r} has no feature beside entity and time")

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features, in the order of the history's columns."""
        fixed = {*self.entity, self.time, self.known}
        return tuple(name for name in self.history.column_names if name not in fixed)

    @property
    def definition(self) -> str:
        """Changes when what the view means changes; data may come and go."""
        types = {name: str(self.history.schema.field(name).type) for name in self.features}
        ttl_s = self.ttl.total_seconds() if self.ttl else None
        return digest_of([self.name, self.entity, self.time, self.known, ttl_s, types])
