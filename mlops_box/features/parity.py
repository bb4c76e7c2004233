"""Parity: is the vector that was served the one that the events give, seen as things stood at that moment?

What counts is written here once more, apart from the lookup and the join, so that a fault of theirs is seen; a test holds it
to the join.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from mlops_box.features.definition import Definition
from mlops_box.features.online import Observation
from mlops_box.features.push import read_observations

# A push is visible within this time: what became known so shortly before a lookup may be missing from it.
GRACE_US = 1_000_000

Cause = Literal[
    "type",
    "different definition",
    "time zone",
    "default used",
    "late data",
    "stale materialisation",
    "window off by one",
    "unknown",
]
Vector: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class LoggedVector:
    """What the prediction log says of one view in one row; times are microseconds since 1970, UTC.

    Attributes:
        id: Of the prediction.
        key: The entity, see :func:`mlops_box.features.online.key_text`.
        at_us: The moment that the row is about.
        looked_at_us: The moment that was looked up; the same, unless something is wrong.
        seen_us: When it was looked up.
        digest: Of the definition that was used.
        observed_us: The time of the observation that was found; ``None``: none was.
        values: By feature, as logged.
    """

    id: str
    key: str
    at_us: int
    looked_at_us: int
    seen_us: int
    digest: str
    observed_us: int | None
    values: Vector


@dataclass(frozen=True)
class Difference:
    """A logged vector that is not the recomputed one.

    Attributes:
        expected: The observation that counts.
        vector: What it gives.
        features: That differ.
    """

    row: LoggedVector
    expected: Observation | None
    vector: Vector
    features: tuple[str, ...]


@dataclass(frozen=True)
class Mismatch:
    """One value that is not the recomputed one.

    Attributes:
        id: Of the prediction.
        column: The model's, ``view__feature``.
        because: The cause in words: which observation, event or definition gives the logged value.
    """

    id: str
    column: str
    logged: Any
    recomputed: Any
    cause: Cause
    because: str


class Recomputed:
    """What a definition says of some entities at any moment.

    Args:
        observations: See :func:`mlops_box.features.compute.observations`.
        as_logged: By feature: a value as the log holds it.
    """

    def __init__(
        self, definition: Definition, observations: pa.Table, as_logged: Mapping[str, Callable[[Any], Any]]
    ):
        self.definition = definition
        self.as_logged = as_logged
        self._histories: dict[str, list[Observation]] = defaultdict(list)
        for key, observation in read_observations(definition, observations):
            self._histories[key].append(observation)

    def history(self, key: str) -> Sequence[Observation]:
        """All observations of an entity, by time and knowledge."""
        return self._histories.get(key, ())

    def counted(self, key: str, at_us: int, seen_us: int) -> Observation | None:
        """The newest observation that had happened at ``at_us`` and was known at ``seen_us``."""
        usable = (
            found for found in self.history(key) if found.time_us <= at_us and found.known_us <= seen_us
        )
        return max(usable, key=lambda found: (found.time_us, found.known_us), default=None)

    def vector(self, observation: Observation | None, at_us: int) -> dict[str, Any]:
        """The features that an observation gives at a moment, with ttl and defaults, as the log would hold them."""
        found = {}
        for place, column in enumerate(self.definition.columns):
            value = None
            if observation is not None and _is_young(observation, column.ttl, at_us):
                value = observation.features[place]
            value = column.default if value is None else value
            found[column.name] = self.as_logged.get(column.name, _unchanged)(value)
        return found


def differences(
    rows: Sequence[LoggedVector], recomputed: Recomputed, *, precision: float
) -> Iterator[Difference]:
    """The rows whose vector is another one than what counted when they were looked up, or within a second before.

    Args:
        precision: Relative difference at which two numbers are still the same.
    """
    for row in rows:
        wanted = recomputed.counted(row.key, row.at_us, row.seen_us)
        vector = recomputed.vector(wanted, row.at_us)
        features = _differing(row.values, vector, precision)
        if not features:
            continue
        before = recomputed.counted(row.key, row.at_us, row.seen_us - GRACE_US)
        if before != wanted and not _differing(row.values, recomputed.vector(before, row.at_us), precision):
            continue
        yield Difference(row, wanted, vector, features)


def is_same(one: Any, other: Any, precision: float) -> bool:
    """Are two values as logged the same?"""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= precision * max(abs(one), abs(other))
    return bool(one == other)


def _differing(values: Vector, vector: Vector, precision: float) -> tuple[str, ...]:
    return tuple(name for name, value in values.items() if not is_same(value, vector[name], precision))


def _is_young(observation: Observation, ttl: timedelta | None, at_us: int) -> bool:
    return ttl is None or at_us - observation.since_us <= ttl // timedelta(microseconds=1)


def _unchanged(value: Any) -> Any:
    return value
