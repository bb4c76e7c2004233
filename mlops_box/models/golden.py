"""Golden rows: a few rows with the answers the trained model gave, so that every loader can prove it runs the same model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_box.errors import BoxError, IntegrityError
from mlops_box.models.encode import encode_rows
from mlops_box.models.runtime import OnnxModel, Output

_SHOWN = 3


@dataclass(frozen=True)
class Golden:
    """Rows in their original types and what the trained model, not its export, said of them.

    Attributes:
        rows: One object a row; some values are missing, some categories were never seen.
        prediction: The expected number of each row; regression only.
        probability: The expected probabilities of each row, by class; classification only.
        atol: Largest absolute difference of a probability, and of a prediction near zero.
        rtol: Largest difference of a prediction in relation to its size.
    """

    rows: tuple[dict[str, Any], ...]
    prediction: tuple[float, ...] | None = None
    probability: tuple[tuple[float, ...], ...] | None = None
    atol: float = 1e-4
    rtol: float = 1e-4

    def to_json(self) -> str:
        return json.dumps(
            {
                "format": 1,
                "rows": list(self.rows),
                "prediction": self.prediction,
                "probability": self.probability,
                "atol": self.atol,
                "rtol": self.rtol,
            },
            allow_nan=False,
        )

    @staticmethod
    def from_json(text: str | bytes) -> Golden:
        """Raises :class:`IntegrityError` when ``text`` is no golden file."""
        try:
            raw = json.loads(text)
            probability = raw["probability"]
            return Golden(
                rows=tuple(raw["rows"]),
                prediction=tuple(raw["prediction"]) if raw["prediction"] is not None else None,
                probability=tuple(tuple(row) for row in probability) if probability is not None else None,
                atol=float(raw["atol"]),
                rtol=float(raw["rtol"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"the golden file cannot be read: {error}") from error


def check_golden(model: OnnxModel, golden: Golden) -> list[str]:
    """What is wrong with ``model``, in words; empty when it answers every golden row as it should."""
    try:
        output = model.predict(encode_rows(golden.rows, model.signature))
    except BoxError as error:
        return [f"the golden rows cannot be computed: {error.message}"]
    expected, answered = _pair(golden, output)
    if expected.shape != answered.shape:
        return [f"the golden answers have the shape {expected.shape}, the model's have {answered.shape}"]
    limit = golden.atol + golden.rtol * np.abs(expected)
    # Written so that NaN, which compares false with everything, counts as wrong.
    wrong = np.flatnonzero(~np.all(np.abs(answered - expected) <= limit, axis=1))
    problems = [
        f"golden row {index}: expected {_numbers(expected[index])}, got {_numbers(answered[index])}"
        for index in wrong[:_SHOWN]
    ]
    if len(wrong) > _SHOWN:
        problems.append(f"and {len(wrong) - _SHOWN} more of {len(expected)} golden rows")
    return problems


def _pair(golden: Golden, output: Output) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    if golden.probability is not None:
        given = output.probability if output.probability is not None else np.empty((0, 0), dtype=np.float32)
        return np.asarray(golden.probability, dtype=np.float64), given.astype(np.float64)
    answered = output.prediction if output.prediction is not None else np.empty(0, dtype=np.float32)
    expected = np.asarray(golden.prediction or (), dtype=np.float64)
    return expected.reshape(-1, 1), answered.astype(np.float64).reshape(-1, 1)


def _numbers(values: npt.NDArray[np.float64]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
