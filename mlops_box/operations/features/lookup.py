"""Look at the features of one entity, as a model would see them now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops_box.box import Box
from mlops_box.clock import from_us, isoformat, to_us
from mlops_box.data.values import Column
from mlops_box.errors import UsageError
from mlops_box.features.lookup import FeatureLookup


@dataclass(frozen=True)
class FoundFeatures:
    """The features of an entity at a moment.

    Attributes:
        features: By name; a missing one is its default or ``None``.
        observed_at, known_at: Of the observation that was found; ``None``: there is none.
        age_s: Of the observation at that moment.
    """

    view: str
    version: int
    definition: str
    entity: dict[str, Any]
    at: datetime
    features: dict[str, Any]
    observed_at: datetime | None
    known_at: datetime | None
    age_s: float | None

    def to_dict(self) -> dict[str, Any]:
        def text(moment: datetime | None) -> str | None:
            return isoformat(moment) if moment is not None else None

        return {
            "view": self.view, "version": self.version, "definition": self.definition, "entity": self.entity,
            "at": isoformat(self.at), "features": self.features, "observed_at": text(self.observed_at),
            "known_at": text(self.known_at), "age_s": self.age_s,
        }  # fmt: skip


def look_up(
    box: Box, view: str, given: Mapping[str, str], *, version: int | None = None, at: datetime | None = None
) -> FoundFeatures:
    """The features of the entity whose columns are ``given`` as texts.

    Args:
        version: Of the view; the newest when ``None``.
        at: The moment; now when ``None``.

    Raises:
        NotFoundError: There is no such view or version.
        UsageError: The texts name no entity of it.
    """
    definition = box.features.get(view, version=version)
    entity = {column.name: read_key(column, given.get(column.name)) for column in definition.entity}
    lookup = FeatureLookup(box.online, {definition.name: definition}, box.clock)
    problems = lookup.problems(entity | {name: text for name, text in given.items() if name not in entity})
    if problems:
        raise UsageError(
            f"feature view {view!r}: {problems[0]['message']}", hint=f"name {', '.join(definition.keys)}"
        )
    moment = at if at is not None else box.clock.now()
    looked = lookup.look_up([entity], [to_us(moment)])
    found = looked.observed[definition.name][0]
    return FoundFeatures(
        view=definition.name, version=definition.version, definition=definition.digest, entity=entity, at=moment,
        features={column.name: looked.rows[0][definition.in_model(column.name)] for column in definition.columns},
        observed_at=from_us(found.time_us) if found is not None else None,
        known_at=from_us(found.known_us) if found is not None else None,
        age_s=(to_us(moment) - found.since_us) / 1e6 if found is not None else None,
    )  # fmt: skip


def read_key(column: Column, text: str | None) -> Any:
    """A text as the column's type; a text that is none stays what it is, and is refused as such."""
    if text is None:
        return None
    try:
        if column.type == "bigint":
            return int(text)
        if column.type == "double":
            return float(text)
    except ValueError:
        return text
    if column.type == "boolean":
        return {"true": True, "false": False}.get(text.lower(), text)
    return text
