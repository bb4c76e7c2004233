"""The body of an answer to rows: JSON, or raw numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlops_box.json_bytes import dumps
from mlops_box.models.signature import Signature
from mlops_box.serving.answers import Answers
from mlops_box.serving.records import PredictionIds


def json_reply(
    ref: str,
    signature: Signature,
    answers: Answers,
    ids: PredictionIds,
    *,
    more: Mapping[str, Any] | None = None,
) -> bytes:
    """``{"model", "predictions", "ids"}``, and ``probabilities`` by ``classes`` for a classifier.

    Args:
        more: What is told besides.
    """
    content: dict[str, Any] = {"model": ref, "predictions": answers.predictions, "ids": ids.texts()}
    if answers.probabilities is not None:
        content["probabilities"] = answers.probabilities
        content["classes"] = signature.classes
    return dumps(content if more is None else content | dict(more))


def octets_reply(answers: Answers) -> bytes:
    """Little-endian float32: predictions [rows], or probabilities [rows, classes]; what is not finite is NaN."""
    values = answers.probabilities if answers.probabilities is not None else answers.predictions
    return np.array(values, dtype="<f4").tobytes()
