"""Store ground truth for earlier predictions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mlops_box.box import Box
from mlops_box.errors import UsageError
from mlops_box.serving.metrics import Metrics
from mlops_box.serving.prediction_log import PredictionLog
from mlops_box.serving.predictor import Predictor
from mlops_box.serving.truth import TruthReader


@dataclass(frozen=True)
class FeedbackOutcome:
    """How many truths were stored."""

    model: str
    stored: int

    def to_dict(self) -> dict[str, Any]:
        return {"model": self.model, "stored": self.stored}


def feedback(box: Box, model: str, truths: Iterable[tuple[object, object]]) -> FeedbackOutcome:
    """Store (prediction id, true value) pairs, all or none; a later truth for the same id corrects an earlier one.

    Raises:
        NotFoundError: No such model.
        ContractViolation: An id is no prediction id, or a value cannot be this model's truth.
        StorageError: The log cannot be written.
    """
    version = box.models.get(model)
    read = TruthReader(version.signature).read_all(truths)
    if not read:
        raise UsageError("there is no ground truth to store", hint="give --id and --value, or --in FILE")
    log = PredictionLog(box.home.predictions, box.db, box.clock)
    try:
        Predictor(log, box.clock, Metrics()).store_truth(version.model, read)
    finally:
        log.close()
    return FeedbackOutcome(version.model, len(read))
