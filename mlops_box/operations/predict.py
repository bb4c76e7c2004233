"""Predict rows in this process, with the same door, model and log as the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlops_box.box import Box
from mlops_box.serving.metrics import Metrics
from mlops_box.serving.prediction_log import PredictionLog
from mlops_box.serving.predictor import Predictor
from mlops_box.serving.slot import load_slot


@dataclass(frozen=True)
class Answer:
    """What the server would have answered. ``probabilities`` and ``classes`` are ``None`` for regression."""

    model: str
    predictions: tuple[Any, ...]
    ids: tuple[str, ...]
    probabilities: tuple[tuple[float | None, ...], ...] | None = None
    classes: tuple[str | int | bool, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "predictions": list(self.predictions),
            "ids": list(self.ids),
        }
        if self.probabilities is not None:
            body["probabilities"] = [list(row) for row in self.probabilities]
            body["classes"] = list(self.classes or ())
        return body


def predict(box: Box, ref: str, rows: list[dict[str, Any]]) -> Answer:
    """Predict ``rows`` with ``name`` (its champion), ``name@7`` or ``name@alias``; the answers are logged.

    Raises:
        NotFoundError: No such model or version.
        ContractViolation: A row breaks the contract; nothing was predicted.
        StorageError: The log cannot be written and the project says it must.
    """
    version = box.models.get(ref)
    slot = load_slot(box.models, version, box.projects.for_model(version.model))
    checked = slot.door.checked(rows)
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
    )
