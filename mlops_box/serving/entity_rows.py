"""Rows that are completed by the feature store: ``{"entities": [{"card_id": 7}], "rows": [{"amount": 12.5}]}``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy.typing as npt

from mlops_box.clock import from_us, isoformat, to_us
from mlops_box.data.rows import RowContract
from mlops_box.data.times import parse_date_text, parse_time_text
from mlops_box.errors import UsageError
from mlops_box.features.lookup import FeatureLookup
from mlops_box.serving.door import Door, Row
from mlops_box.serving.entity_columns import as_rows
from mlops_box.serving.json_body import parse_json, refuse_duplicate_keys
from mlops_box.serving.problems import MAX_PROBLEMS, ContractViolation
from mlops_box.serving.records import LoggedFeatures, ParsedRows

_KEYS = frozenset({"entities", "rows"})
_EXAMPLE = 'send {"entities": [{...}], "rows": [{...}]}, one entity a row'


class EntityRows(ParsedRows):
    """Rows with features that were looked up for them.

    Attributes:
        given: The rows as they came.
        entities: Of each row.
        features: See :class:`ParsedRows`.
    """

    given: list[Row]
    entities: list[Row]
    features: LoggedFeatures


class EntityDoor:
    """Completes and checks the rows of one request by the definitions that a version pins. For the event loop.

    Args:
        door: What the completed rows must pass, as rows that came whole.

    Attributes:
        digests: Of the definitions, by view.
        keys: The columns that name an entity.
        looked_up: The columns that are looked up.
    """

    def __init__(self, door: Door, lookup: FeatureLookup):
        self._door = door
        self._lookup = lookup
        self._rules = RowContract(lookup.rules, lookup.rules)
        self.looked_up = frozenset(lookup.columns)
        self.digests = lookup.digests
        self.keys = lookup.entity

    def parse(self, body: bytes) -> list[Row]:
        """The rows of a request, completed where it names entities.

        Raises:
            MalformedBody: The body is no JSON, or a key stands twice.
            UsageError: It has another form.
            ContractViolation: An entity or a completed row breaks the contract.
        """
        if b'"entities"' not in body:
            return self._door.parse(body)
        asked = parse_json(body)
        if not isinstance(asked, dict) or "entities" not in asked:
            return self._door.parse(body)
        entities = asked["entities"]
        rows = asked.get("rows", [{} for _ in entities] if isinstance(entities, list) else None)
        if not asked.keys() <= _KEYS or not isinstance(entities, list) or not isinstance(rows, list):
            raise UsageError("the body is no list of entities and no list of rows", hint=_EXAMPLE)
        self._check_given(entities, rows)
        refuse_duplicate_keys(body, len(asked) + sum(map(len, entities)) + sum(map(len, rows)))
        return self._completed(entities, rows)

    def checked(self, entities: list[Any], rows: list[Any]) -> EntityRows:
        """The rows, completed; raises as :meth:`parse`."""
        self._check_given(entities, rows)
        return self._completed(entities, rows)

    def is_asked(self, names: Collection[str]) -> bool:
        """Whether columns of these names ask for a lookup: one of them names the entity, and none of them is looked up."""
        return any(name in self.keys for name in names) and self.looked_up.isdisjoint(names)

    def of_columns(self, values: Mapping[str, npt.NDArray[Any]], rows: int) -> EntityRows:
        """The same for columns that :meth:`is_asked`; a key that is a feature too is both."""
        entity = {name: column for name, column in values.items() if name in self.keys}
        given = {
            name: column
            for name, column in values.items()
            if name not in self.keys or name in self._door.features
        }
        return self.checked(as_rows(entity, rows), as_rows(given, rows))

    def complete(self, entities: list[Row], rows: list[Row]) -> EntityRows:
        """Rows with the features of their entities, at the rows' event times or now."""
        now_us = to_us(self._lookup.clock.now())
        at_us = [self._moment(row, now_us) for row in rows]
        looked = self._lookup.look_up(entities, at_us)
        completed = EntityRows(row | found for row, found in zip(rows, looked.rows, strict=True))
        completed.given, completed.entities = rows, entities
        observed = {
            view: [(found.time_us, found.known_us) if found is not None else None for found in observations]
            for view, observations in looked.observed.items()
        }
        completed.features = LoggedFeatures(self._lookup.digests, entities, at_us, now_us, observed)
        return completed

    def explain(self, rows: EntityRows) -> list[dict[str, Any]]:
        """What was looked up for each row, for people."""
        told = rows.features
        return [
            {
                "entity": told.entities[index],
                "at": isoformat(from_us(told.at_us[index])),
                "features": {name: rows[index].get(name) for name in self._lookup.columns},
                "views": {
                    view: _explained(digest, told.observed[view][index], told.at_us[index])
                    for view, digest in told.definitions.items()
                },
            }
            for index in range(len(rows))
        ]

    def _check_given(self, entities: list[Any], rows: list[Any]) -> None:
        if len(entities) != len(rows):
            raise UsageError(f"{len(entities)} entities do not pair up with {len(rows)} rows", hint=_EXAMPLE)
        self._door.check_count(len(rows))
        problems = [
            {"row": index, **problem}
            for index, (entity, row) in enumerate(zip(entities, rows, strict=True))
            for problem in (*self._lookup.problems(entity), *self._row_problems(row))
        ]
        if problems:
            raise ContractViolation(problems[:MAX_PROBLEMS], total=len(problems))

    def _completed(self, entities: list[Row], rows: list[Row]) -> EntityRows:
        completed = self.complete(entities, rows)
        self._check(completed)
        return completed

    def _row_problems(self, row: Any) -> list[dict[str, Any]]:
        if type(row) is not dict:
            message = f"it is no object but {type(row).__name__}"
            return [{"column": None, "rule": "row.type", "message": message}]
        message = "it is looked up for the entity; leave it out, or send the whole row without `entities`"
        return [
            {"column": name, "rule": "feature.given", "message": f"{name}: {message}"}
            for name in row
            if name in self.looked_up
        ]

    def _check(self, rows: EntityRows) -> None:
        self._door.check(rows)
        problems = [
            {"row": index, **problem.to_dict()}
            for index, row in enumerate(rows)
            for problem in self._rules.check(row)
        ]
        if problems:
            raise ContractViolation(problems[:MAX_PROBLEMS], total=len(problems))

    def _moment(self, row: Row, now_us: int) -> int:
        value = row.get(self._door.time_column) if self._door.time_column is not None else None
        if not isinstance(value, str):
            return now_us
        moment = parse_time_text(value)
        if moment is None:
            day = parse_date_text(value)
            moment = datetime(day.year, day.month, day.day, tzinfo=UTC) if day is not None else None
        return to_us(moment) if moment is not None else now_us


def _explained(digest: str, observed: Sequence[int] | None, at_us: int) -> dict[str, Any]:
    if observed is None:
        return {"definition": digest, "observed_at": None, "known_at": None, "age_s": None}
    time_us, known_us = observed
    return {
        "definition": digest, "observed_at": isoformat(from_us(time_us)), "known_at": isoformat(from_us(known_us)),
        "age_s": (at_us - time_us) / 1_000_000,
    }  # fmt: skip
