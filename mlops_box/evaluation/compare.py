"""Candidate against champion on the same rows: metrics of two different test sets say nothing about which is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mlops_box.errors import IntegrityError, UsageError
from mlops_box.evaluation.metrics import compute_metrics
from mlops_box.models.encode_tables import encode_table
from mlops_box.models.runtime import OnnxModel
from mlops_box.models.values import ModelVersion, Signature


@dataclass(frozen=True)
class Comparison:
    """What the champion does on the candidate's held-out rows.

    Attributes:
        champion: Its reference, ``name@7``.
        rows: How many rows both answered.
        metrics: The champion's; empty where it could not be run.
        problem: Why it could not be run on these rows; ``None`` when it was.
    """

    champion: str
    rows: int
    metrics: dict[str, float]
    problem: str | None = None


def compare_with(
    champion: ModelVersion,
    packed: bytes,
    test: pa.Table,
    *,
    truth: np.ndarray[Any, Any],
    candidate: Signature,
) -> Comparison:
    """Run the champion over ``test``, encoded by its own signature.

    Args:
        champion: The version that serves now.
        packed: Its ``packed.onnx``.
        test: The candidate's held-out rows.
        truth: [n]; the target of these rows.
        candidate: The new version's signature.
    """
    signature = champion.signature
    problem = _incomparable(signature, candidate, test)
    if problem is None:
        try:
            output = OnnxModel(packed, signature).predict(encode_table(test, signature))
        except (UsageError, IntegrityError) as error:
            problem = error.message
    if problem is not None:
        return Comparison(champion.ref, 0, {}, problem)
    metrics = compute_metrics(signature.task, truth=truth, output=output, classes=signature.classes)
    return Comparison(champion.ref, test.num_rows, metrics)


def _incomparable(signature: Signature, candidate: Signature, test: pa.Table) -> str | None:
    if signature.task != candidate.task:
        return f"it is a {signature.task} model, the new one is {candidate.task}"
    if signature.target != candidate.target:
        return f"it predicts {signature.target!r}, the new one {candidate.target!r}"
    lacking = [feature.name for feature in signature.features if feature.name not in test.column_names]
    if lacking:
        return f"it reads {', '.join(lacking[:5])}, which the data no longer have"
    return None
