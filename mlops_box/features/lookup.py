"""Lookup: the features of entities at a moment, by the definitions that a model version pins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from mlops_box.clock import Clock
from mlops_box.data.rows import ColumnCheck
from mlops_box.features.definition import Definition
from mlops_box.features.online import CachedStore, Observation, OnlineStore, key_text
from mlops_box.project import ColumnRule

_MICROSECOND = timedelta(microseconds=1)
_INT64 = 2**63
# What JSON brings for these types in their only spelling.
_PLAIN: Mapping[str, type] = {"bigint": int, "varchar": str}


@dataclass(frozen=True, slots=True)
class Looked:
    """What was looked up for some rows.

    Attributes:
        rows: The features by the names of the model's columns, ``view__feature``; a missing value is its default or ``None``.
        observed: By view, for each row: the observation that was found, of whatever age, or ``None``.
        expired: By view: rows whose observation is too old for every feature of the view.
    """

    rows: list[dict[str, Any]]
    observed: dict[str, list[Observation | None]]
    expired: dict[str, int]


class Told(Protocol):
    """Counts lookups."""

    def looked_up(self, view: str, ages_s: Sequence[float], *, missing: int, expired: int) -> None:
        """Rows of one lookup: the ages of the observations that were found, how many were not, and how many are too old."""


class FeatureLookup:
    """Looks up the features of pinned definitions. For one thread.

    Args:
        definitions: By view.
        told: Who counts what is found, missing or too old.

    Attributes:
        digests: Of the definitions, by view.
        columns: The names of all features in the model, in order.
        entity: The columns that an entity must name.
        rules: What the definitions say that the values of these columns must be.
        clock: Says what moment is now.
    """

    def __init__(
        self,
        store: OnlineStore,
        definitions: Mapping[str, Definition],
        clock: Clock,
        *,
        told: Told | None = None,
    ):
        self.clock = clock
        self._told = told
        self._cache = CachedStore(store)
        self._views = [_View(store, definition) for definition in definitions.values()]
        self.digests = {name: definition.digest for name, definition in definitions.items()}
        self.columns = tuple(column for view in self._views for column in view.columns)
        self.rules = {
            view.in_model(column.name): column.rule
            for view in definitions.values()
            for column in view.columns
        }
        types = {column.name: column.type for view in definitions.values() for column in view.entity}
        self.entity = tuple(types)
        self._checks = {
            name: ColumnCheck(name, ColumnRule.model_validate({"type": type_}))
            for name, type_ in types.items()
        }
        self._plain = tuple((name, _PLAIN.get(type_)) for name, type_ in types.items())

    def problems(self, entity: Any) -> list[dict[str, Any]]:
        """What is wrong with an entity: ``{"column", "rule", "message"}`` each; empty when it may be looked up."""
        if self._is_plain(entity):
            return []
        if type(entity) is not dict:
            message = f"the entity is no object but {type(entity).__name__}"
            return [{"column": None, "rule": "entity.type", "message": message}]
        found = [
            problem.to_dict() for name, check in self._checks.items() for problem in check(entity.get(name))
        ]
        for name in entity.keys() - self._checks.keys():
            message = f"{name[:100]!r} names no entity of this model; it has {', '.join(self.entity)}"
            found.append({"column": name[:100], "rule": "unknown_column", "message": message})
        return found

    def _is_plain(self, entity: Any) -> bool:
        """The common case, judged in a fraction of the time: whole numbers and texts, and all of them there."""
        if type(entity) is not dict or len(entity) != len(self._plain):
            return False
        for name, kind in self._plain:
            value = entity.get(name)
            if type(value) is not kind or (isinstance(value, int) and not -_INT64 <= value < _INT64):
                return False
        return True

    def look_up(self, entities: Sequence[Mapping[str, Any]], at_us: Sequence[int]) -> Looked:
        """The features of entities without :meth:`problems`, as everything stands that anybody has committed.

        Args:
            at_us: The moment of each, in microseconds since 1970: later observations do not count.
        """
        self._cache.refresh()
        rows: list[dict[str, Any]] = [{} for _ in entities]
        observed: dict[str, list[Observation | None]] = {}
        expired: dict[str, int] = {}
        for view in self._views:
            keys = [self._key(view, entity) for entity in entities]
            if len(keys) > 1:
                self._cache.warm(view.number, keys)
            found = observed[view.name] = []
            for row, key, moment_us in zip(rows, keys, at_us, strict=True):
                observation = self._cache.newest(view.number, key, moment_us)
                found.append(observation)
                if view.fill(row, observation, moment_us):
                    expired[view.name] = expired.get(view.name, 0) + 1
            if self._told is not None:
                ages_s = [
                    (moment_us - observation.since_us) / 1e6
                    for observation, moment_us in zip(found, at_us, strict=True)
                    if observation is not None
                ]
                missing = len(found) - len(ages_s)
                self._told.looked_up(view.name, ages_s, missing=missing, expired=expired.get(view.name, 0))
        return Looked(rows, observed, expired)

    def _key(self, view: _View, entity: Mapping[str, Any]) -> str:
        values = [entity[name] for name in view.entity]
        if len(values) == 1 and type(values[0]) is int:
            # As key_text spells it, in a third of the time.
            return f"[{values[0]}]"
        if not all(map(_is_canonical, values)):
            values = [self._checks[name].typed(entity[name]) for name in view.entity]
        return key_text(values)


class _View:
    """One definition, prepared for filling rows."""

    def __init__(self, store: OnlineStore, definition: Definition):
        self.name = definition.name
        self.number = store.view_number(definition.digest, definition.name)
        self.entity = definition.keys
        self.columns = tuple(definition.in_model(column.name) for column in definition.columns)
        self._defaults = {
            name: column.default for name, column in zip(self.columns, definition.columns, strict=True)
        }
        self._has_defaults = any(default is not None for default in self._defaults.values())
        ttls = [column.ttl for column in definition.columns]
        self._ttl_us = [ttl // _MICROSECOND if ttl is not None else None for ttl in ttls]
        bounded = [ttl for ttl in self._ttl_us if ttl is not None]
        # Younger than this all features count, older than that none does.
        self._all_us = min(bounded, default=None)
        self._any_us = max(bounded) if len(bounded) == len(self._ttl_us) else None

    def fill(self, row: dict[str, Any], observation: Observation | None, at_us: int) -> bool:
        """Write the features into a row; returns whether there is an observation, and it is too old for all of them."""
        if observation is None:
            row.update(self._defaults)
            return False
        age_us = at_us - observation.since_us
        values = observation.features
        if self._all_us is not None and age_us > self._all_us:
            values = [
                value if ttl_us is None or age_us <= ttl_us else None
                for value, ttl_us in zip(values, self._ttl_us, strict=True)
            ]
        row.update(zip(self.columns, values, strict=True))
        if self._has_defaults and None in values:
            for name, value in zip(self.columns, values, strict=True):
                if value is None:
                    row[name] = self._defaults[name]
        return self._any_us is not None and age_us > self._any_us


def _is_canonical(value: object) -> bool:
    """Whether JSON spells a value in one way: 7 may also come as 7.0 or true."""
    kind = type(value)
    return kind is int or kind is str
