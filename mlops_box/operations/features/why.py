"""Why an entity had these features at a moment: which observation counted, and why each other one did not."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_box.box import Box
from mlops_box.clock import isoformat
from mlops_box.errors import UsageError
from mlops_box.units import format_duration

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_box.features.definition import Definition, FeatureColumn

# Observations shown beside the one that counts, before the moment and after it.
_SHOWN, _SHOWN_AHEAD = 20, 3


@dataclass(frozen=True)
class FeatureReason:
    """One feature's value, and where it comes from: ``observed``, ``default`` or ``missing``."""

    feature: str
    value: Any
    origin: str
    because: str


@dataclass(frozen=True)
class Candidate:
    """One observation of the entity, and why it counts or does not."""

    time: datetime
    known: datetime
    counts: bool
    because: str
    values: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"time": isoformat(self.time), "known": isoformat(self.known)}


@dataclass(frozen=True)
class FeatureWhy:
    """The features of an entity at a moment, explained. ``observations``: newest first; ``more``: further away, not shown."""

    view: str
    digest: str
    entity: dict[str, Any]
    at: datetime
    features: tuple[FeatureReason, ...]
    observations: tuple[Candidate, ...]
    more: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "view": self.view, "digest": self.digest, "entity": self.entity, "at": isoformat(self.at),
            "features": [asdict(reason) for reason in self.features],
            "observations": [candidate.to_dict() for candidate in self.observations], "more": self.more,
        }  # fmt: skip


def why_features(
    box: Box, view: str, entity: Mapping[str, str], *, at: datetime | None = None, version: int | None = None
) -> FeatureWhy:
    """Compute the entity's observations anew, from its events, and tell which of them counted at ``at``.

    Args:
        box: Knows the view and the project whose files hold its events.
        view: Its name.
        entity: Values of the entity's columns, as text.
        at: The moment; now when ``None``.
        version: Of the view; the newest when ``None``.

    Raises:
        NotFoundError: No such view or version, or its project is unknown.
        UsageError: The entity is named by other columns.
        SourceError: The events cannot be read.
    """
    from mlops_box.features.compute import observations
    from mlops_box.operations.features.events import events_of

    definition = box.features.get(view, version=version)
    _check_entity(definition, entity)
    wanted = _as_table(definition, entity)
    moment = (at or box.clock.now()).astimezone(UTC)
    with tempfile.TemporaryDirectory(prefix="why-", dir=box.home.scratch) as folder:
        events = events_of(box, definition, wanted, scratch=Path(folder))
        found = observations(definition, events, scratch=Path(folder)).to_pylist()
    rows = [_zoned(row) for row in found]
    winner = _winner(rows, moment)
    past = [row for row in rows if row["time"] <= moment]
    nearest = rows[: len(past) + _SHOWN_AHEAD][-_SHOWN_AHEAD - _SHOWN :]
    # The one that counts is always shown.
    chosen = nearest if winner is None or any(row is winner for row in nearest) else [winner, *nearest]
    shown = [_candidate(definition, row, winner, moment) for row in reversed(chosen)]
    return FeatureWhy(
        view=definition.ref, digest=definition.digest, entity=dict(entity), at=moment,
        features=tuple(_reason(column, winner, moment) for column in definition.columns),
        observations=tuple(shown), more=len(rows) - len(shown),
    )  # fmt: skip


def _check_entity(definition: Definition, entity: Mapping[str, str]) -> None:
    if set(entity) != set(definition.keys):
        wanted = " ".join(f"{column}=..." for column in definition.keys)
        raise UsageError(
            f"an entity of {definition.name!r} is named by {', '.join(definition.keys)}",
            hint=f"write {wanted}",
        )


def _as_table(definition: Definition, entity: Mapping[str, str]) -> pa.Table:
    """The entity's columns in their types, one row."""
    import pyarrow as pa

    from mlops_box.data.sift import arrow_schema

    columns = {}
    for field in arrow_schema(definition.entity):
        text = entity[field.name]
        try:
            columns[field.name] = pa.array([text]).cast(field.type)
        except pa.ArrowInvalid:
            raise UsageError(
                f"{field.name} = {text!r} is no {definition.name} entity: it holds {field.type}"
            ) from None
    return pa.table(columns)


def _zoned(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
        for name, value in row.items()
    }


def _winner(rows: list[dict[str, Any]], moment: datetime) -> dict[str, Any] | None:
    usable = [row for row in rows if row["time"] <= moment and row["known"] <= moment]
    return max(usable, key=lambda row: (row["time"], row["known"])) if usable else None


def _candidate(
    definition: Definition, row: dict[str, Any], winner: dict[str, Any] | None, moment: datetime
) -> Candidate:
    if row is winner:
        because = "it is the newest that had happened and was known"
        if row["since"] != row["time"]:
            because += f"; what was observed then has been taken back, its values are those of {isoformat(row['since'])}"
    elif row["time"] > moment:
        because = "it had not happened yet"
    elif row["known"] > moment:
        because = f"it was late: known only from {isoformat(row['known'])} on"
    elif winner is not None and row["time"] == winner["time"]:
        because = f"it was corrected, known from {isoformat(winner['known'])} on"
    else:
        because = "a newer one counts"
    return Candidate(
        row["time"], row["known"], row is winner, because, {name: row[name] for name in definition.features}
    )


def _reason(column: FeatureColumn, winner: dict[str, Any] | None, moment: datetime) -> FeatureReason:
    if winner is None:
        because = "nothing was observed of the entity by then"
    elif column.ttl is not None and winner["since"] is not None and moment - winner["since"] > column.ttl:
        age, ttl = (format_duration(span.total_seconds()) for span in (moment - winner["since"], column.ttl))
        because = f"what was observed is {age} old, its ttl is {ttl}"
    elif winner[column.name] is None:
        because = "the observation that counts has no value of it"
    else:
        because = f"observed at {isoformat(winner['since'])}, known from {isoformat(winner['known'])} on"
        return FeatureReason(column.name, winner[column.name], "observed", because)
    if column.default is None:
        return FeatureReason(column.name, None, "missing", because)
    return FeatureReason(column.name, column.default, "default", because)
