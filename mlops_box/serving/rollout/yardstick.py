"""What predictions and errors of one rollout are measured by, fixed when it is proposed so that counts add up."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from mlops_box.canonical import canonical_json
from mlops_box.models.values import Signature

_BINS = 20
_PROBABILITIES = tuple(round(step / _BINS, 2) for step in range(1, _BINS))
# Half of the predictions' standard deviation: a number further off than that is another answer.
FAR = 0.5


@dataclass(frozen=True)
class Yardstick:
    """Bins of predictions, and scales for differences.

    Attributes:
        edges: Numbers (regression: the prediction; binary: the second class's probability) are counted in ``(-inf,
            edges[0]]``, ..., ``(edges[-1], inf)``; empty for several classes.
        labels: Several classes are counted by their text; empty otherwise. What is none of them goes to the last bin.
        spread: Two numbers further apart than this disagree; ``None`` where classes are compared.
        error_scale: An absolute error of this size is a loss of 1/2 (regression); ``None`` where classes are compared.
        truth_expected: Whether the champion's predictions usually get their ground truth.
    """

    edges: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    spread: float | None = None
    error_scale: float | None = None
    truth_expected: bool = False

    @property
    def bins(self) -> int:
        return (len(self.labels) or len(self.edges)) + 1

    def bin_of(self, number: float | None, label: str | None) -> int | None:
        """The bin of one prediction; ``None`` where there is nothing to count."""
        if self.labels:
            return self.labels.index(label) if label in self.labels else len(self.labels)
        return bisect_left(self.edges, number) if number is not None else None

    def disagree(
        self, number: float | None, label: str | None, other_number: float | None, other_label: str | None
    ) -> bool:
        """Whether two answers to the same row are not the same answer."""
        if self.spread is None:
            return label != other_label
        return number is None or other_number is None or abs(number - other_number) > self.spread

    def loss(
        self, number: float | None, label: str | None, truth: str, truth_number: float | None
    ) -> float | None:
        """How wrong a prediction was, 0 to 1: another class is 1; an absolute error e is ``e / (e + error_scale)``.

        ``None`` where it cannot be told.
        """
        if self.error_scale is None:
            return float(label != truth) if label is not None else None
        if number is None or truth_number is None:
            return None
        error = abs(number - truth_number)
        return error / (error + self.error_scale)

    def to_json(self) -> str:
        return canonical_json(asdict(self))

    @staticmethod
    def from_json(text: str) -> Yardstick:
        raw = json.loads(text)
        return Yardstick(
            tuple(raw["edges"]), tuple(raw["labels"]), raw["spread"], raw["error_scale"],
            bool(raw.get("truth_expected")),
        )  # fmt: skip


def yardstick_for(
    signature: Signature, champion_predictions: Sequence[float], *, error: float | None = None
) -> Yardstick:
    """The yardstick of a model.

    Args:
        champion_predictions: Regression: a sample of what the champion answers, to place the bins.
        error: Regression: the champion's mean absolute error; the predictions' spread serves where it is unknown.
    """
    if signature.task == "binary":
        return Yardstick(edges=_PROBABILITIES)
    if signature.classes is not None:
        from mlops_box.models.encode import category_text

        return Yardstick(labels=tuple(category_text(value) for value in signature.classes))
    ordered = sorted(champion_predictions)
    count = len(ordered)
    picked = {ordered[min(count - 1, round(count * part))] for part in _PROBABILITIES} if count else {0.0}
    mean = sum(ordered) / max(count, 1)
    deviation = (sum((value - mean) ** 2 for value in ordered) / max(count, 1)) ** 0.5 or abs(mean) or 1.0
    return Yardstick(
        edges=tuple(sorted(picked)), spread=FAR * deviation, error_scale=error if error else deviation
    )
