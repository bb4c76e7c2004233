"""Predict rows in this process, with the same door, model and log as the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_box.box import Box
from mlops_box.errors import UsageError
from mlops_box.features.lookup import FeatureLookup, Told
from mlops_box.models.values import ModelVersion
from mlops_box.operations.features.lookup import read_key
from mlops_box.serving.entity_rows import EntityRows
from mlops_box.serving.metrics import Metrics
from mlops_box.serving.prediction_log import PredictionLog
from mlops_box.serving.predictor import Predictor
from mlops_box.serving.slot import Slot, load_slot


@dataclass(frozen=True)
class Answer:
    """What the server would have answered. ``probabilities`` and ``classes`` are ``None`` for regression.

    Attributes:
        features: What was looked up for the rows, where it was ``explained``; ``None``: nothing was.
    """

    model: str
    predictions: tuple[Any, ...]
    ids: tuple[str, ...]
    probabilities: tuple[tuple[float | None, ...], ...] | None = None
    classes: tuple[str | int | bool, ...] | None = None
    features: list[dict[str, Any]] | None = None
    explained: bool = False

    def to_dict(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "predictions": list(self.predictions),
            "ids": list(self.ids),
        }
        if self.probabilities is not None:
            body["probabilities"] = [list(row) for row in self.probabilities]
            body["classes"] = list(self.classes or ())
        if self.explained:
            body["features"] = self.features
        return body


def predict(
    box: Box,
    ref: str,
    rows: list[dict[str, Any]],
    *,
    entities: list[dict[str, Any]] | None = None,
    explain: bool = False,
) -> Answer:
    """Predict ``rows`` with ``name`` (its champion), ``name@7`` or ``name@alias``; the answers are logged.

    Args:
        entities: One a row, whose features are looked up; ``None``: the rows hold all features.
        explain: Tell what was looked up.

    Raises:
        NotFoundError: No such model or version.
        UsageError: There are entities, and the model looks nothing up; or not one a row.
        ContractViolation: A row breaks the contract; nothing was predicted.
        StorageError: The log cannot be written and the project says it must.
    """
    version = box.models.get(ref)
    slot = load_slot(
        box.models,
        version,
        box.projects.for_model(version.model),
        lookup_for=lambda found: lookup_for(box, found),
    )
    checked = slot.door.checked(rows) if entities is None else _completed(slot, entities, rows)
    is_champion = box.models.aliases(version.model).get("champion") == version.number
    log = PredictionLog(box.home.predictions, box.db, box.clock)
    try:
        predictor = Predictor(log, box.clock, Metrics())
        reply = predictor.predict_now(slot, checked, "champion" if is_champion else "direct")
    finally:
        log.close()
    answers = reply.answers
    probabilities = answers.probabilities
    return Answer(
        model=slot.ref,
        predictions=tuple(answers.predictions),
        ids=tuple(reply.ids),
        probabilities=tuple(tuple(row) for row in probabilities) if probabilities is not None else None,
        classes=version.signature.classes if probabilities is not None else None,
        features=_looked_up(slot, checked) if explain else None,
        explained=explain,
    )


def read_entities(box: Box, ref: str, given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Entities whose values came as texts, in the types of the columns that name them.

    What is no value of its type stays a text, and is refused by its rule when it is looked up.

    Raises:
        NotFoundError: No such model or version.
        UsageError: The model looks nothing up.
    """
    version = box.models.get(ref)
    definitions = box.features.pinned(version.lineage).values()
    columns = {column.name: column for definition in definitions for column in definition.entity}
    if not columns:
        raise _looks_nothing_up(version.ref)
    return [
        {
            name: read_key(columns[name], value) if name in columns and isinstance(value, str) else value
            for name, value in entity.items()
        }
        for entity in given
    ]


def lookup_for(box: Box, version: ModelVersion, *, told: Told | None = None) -> FeatureLookup | None:
    """Looks up the features whose definitions a version pins; ``None`` where it pins none.

    Args:
        told: Who counts what is found.
    """
    definitions = box.features.pinned(version.lineage)
    return FeatureLookup(box.online, definitions, box.clock, told=told) if definitions else None


def _completed(slot: Slot, entities: list[dict[str, Any]], rows: list[dict[str, Any]]) -> EntityRows:
    if slot.entities is None:
        raise _looks_nothing_up(slot.ref)
    return slot.entities.checked(entities, rows)


def _looked_up(slot: Slot, rows: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    if slot.entities is None or not isinstance(rows, EntityRows):
        return None
    return slot.entities.explain(rows)


def _looks_nothing_up(ref: str) -> UsageError:
    return UsageError(f"{ref} looks no features up, so it takes no entities", hint="send whole rows")
