"""From a model's output to what a person and the log read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import isfinite
from typing import Any, NamedTuple

from mlops_box.models.encode import category_text
from mlops_box.models.runtime import Output
from mlops_box.models.signature import Signature
from mlops_box.serving.records import Outcome


class Answers(NamedTuple):
    """Plain Python lists, one entry a row.

    Attributes:
        predictions: What the caller gets: numbers, or classes in their original type.
        numbers: For the log: regression value or probability of the second class; ``None`` for several classes.
        labels: For the log: classes as text; ``None`` for regression.
        probabilities: ``None`` for regression.
        outcome: ``not_finite`` when a value was NaN or infinite; it is answered as null.
    """

    predictions: list[Any]
    numbers: list[float | None] | None
    labels: list[str] | None
    probabilities: list[list[float | None]] | None
    outcome: Outcome

    def part(self, start: int, stop: int) -> Answers:
        """The rows from ``start`` to before ``stop``."""
        if start == 0 and stop == len(self.predictions):
            return self
        numbers = self.numbers[start:stop] if self.numbers is not None else None
        probabilities = self.probabilities[start:stop] if self.probabilities is not None else None
        whole = self.outcome == "ok" or not _has_none(numbers, probabilities)
        return Answers(
            self.predictions[start:stop],
            numbers,
            self.labels[start:stop] if self.labels is not None else None,
            probabilities,
            "ok" if whole else "not_finite",
        )

    def take(self, rows: Sequence[int]) -> Answers:
        """Those rows, in that order."""
        return joined([self.part(row, row + 1) for row in rows])


def joined(parts: Sequence[Answers]) -> Answers:
    """The rows of all parts, in order; they are of one signature."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    return Answers(
        list(chain.from_iterable([part.predictions for part in parts])),
        None if first.numbers is None else list(chain.from_iterable([part.numbers or () for part in parts])),
        None if first.labels is None else list(chain.from_iterable([part.labels or () for part in parts])),
        None
        if first.probabilities is None
        else list(chain.from_iterable([part.probabilities or () for part in parts])),
        "ok" if all(part.outcome == "ok" for part in parts) else "not_finite",
    )


class Reader:
    """Reads the outputs of one signature."""

    def __init__(self, signature: Signature):
        self._classes = signature.classes
        self._texts = [category_text(value) for value in signature.classes or ()]
        self._binary = signature.task == "binary"

    def read(self, output: Output) -> Answers:
        if self._classes is None:
            assert output.prediction is not None
            values: list[Any] = output.prediction.tolist()
            outcome: Outcome = "ok"
            # A sum of float32 is finite exactly if all of them are.
            if not isfinite(sum(values)):
                values, outcome = _finite_or_none(values), "not_finite"
            return Answers(values, values, None, None, outcome)
        assert output.label is not None
        assert output.probability is not None
        labels = output.label.tolist()
        probabilities: list[list[float | None]] = output.probability.tolist()
        outcome = "ok"
        if not isfinite(sum(map(sum, probabilities))):  # type: ignore[arg-type]
            probabilities, outcome = [_finite_or_none(row) for row in probabilities], "not_finite"
        numbers = [row[1] for row in probabilities] if self._binary else None
        return Answers(
            [self._classes[label] for label in labels],
            numbers,
            [self._texts[label] for label in labels],
            probabilities,
            outcome,
        )


def _finite_or_none(values: list[Any]) -> list[Any]:
    return [value if isfinite(value) else None for value in values]


def _has_none(numbers: list[float | None] | None, probabilities: list[list[float | None]] | None) -> bool:
    return None in (numbers or ()) or any(None in row for row in probabilities or ())
