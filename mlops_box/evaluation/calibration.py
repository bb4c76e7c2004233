"""How far predictions mean what they say, as numbers: the model card draws them, and the terminal and ``--json`` show them.

For classes, the reliability diagram: predicted probability against observed share. For a regression, the errors by
predicted value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

BINS = 10
# An error's outer quantiles want this many rows to stand for something.
MIN_BIN_ROWS = 20
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows whose probability fell into one bin: what was said on average, how often it happened."""

    said: float
    seen: float
    rows: int


@dataclass(frozen=True)
class Reliability:
    """The reliability diagram.

    Attributes:
        event: What the probability is of: ``left = true``, or that the likeliest class is right.
        rows: Rows in all.
        brier: Mean squared difference between the probability and what happened (Brier 1950); 0 is perfect.
        ece: Expected calibration error: the distance between said and seen over the bins, weighted by their rows.
            Chance alone raises it where bins have few rows.
        bins: Those with rows, ascending.
    """

    event: str
    rows: int
    brier: float
    ece: float
    bins: tuple[ReliabilityBin, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(raw: Mapping[str, Any]) -> Reliability:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError, KeyError, TypeError: It is none.
        """
        bins = tuple(
            ReliabilityBin(_number(one["said"]), _number(one["seen"]), int(one["rows"]))
            for one in raw["bins"]
        )
        return Reliability(
            str(raw["event"]), int(raw["rows"]), _number(raw["brier"]), _number(raw["ece"]), bins
        )


@dataclass(frozen=True)
class ErrorBin:
    """Rows of neighbouring predictions.

    Attributes:
        said: Their mean prediction.
        seen: The mean of what came true.
        rows: How many.
        errors: Quantiles of true minus predicted, at :data:`QUANTILES`.
    """

    said: float
    seen: float
    rows: int
    errors: tuple[float, ...]


@dataclass(frozen=True)
class Residuals:
    """The errors of a regression, true minus predicted.

    Attributes:
        target: What is predicted.
        rows: Rows in all.
        mean: The mean error; away from 0, the model is biased.
        errors: Quantiles over all rows, at :data:`QUANTILES`.
        bins: Of about as many rows each, by prediction, ascending.
    """

    target: str
    rows: int
    mean: float
    errors: tuple[float, ...]
    bins: tuple[ErrorBin, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(raw: Mapping[str, Any]) -> Residuals:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError, KeyError, TypeError: It is none.
        """
        bins = tuple(
            ErrorBin(_number(one["said"]), _number(one["seen"]), int(one["rows"]), _quantiles(one["errors"]))
            for one in raw["bins"]
        )
        return Residuals(
            str(raw["target"]), int(raw["rows"]), _number(raw["mean"]), _quantiles(raw["errors"]), bins
        )


def reliability(
    probability: np.ndarray[Any, Any], happened: np.ndarray[Any, Any], *, event: str, bins: int = BINS
) -> Reliability:
    """How often it happened where the model said so.

    Bins are equally wide: with equally many rows they would crowd at zero where the event is rare. The expected
    calibration error is that of Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian
    Binning", AAAI 2015; for the likeliest of several classes as in Guo et al., "On Calibration of Modern Neural
    Networks", ICML 2017.

    Args:
        probability: [n], n at least 1; of the event.
        happened: [n]; bool.
        event: In words.
        bins: How many; those without rows are left out.
    """
    import numpy as np

    places = np.clip((probability * bins).astype(np.int64), 0, bins - 1)
    found = []
    for place in np.unique(places):
        within = places == place
        found.append(
            ReliabilityBin(
                float(probability[within].mean()), float(happened[within].mean()), int(within.sum())
            )
        )
    rows = len(probability)
    return Reliability(
        event=event,
        rows=rows,
        brier=float(np.mean((probability - happened) ** 2)),
        ece=sum(abs(one.said - one.seen) * one.rows for one in found) / rows,
        bins=tuple(found),
    )


def residuals(
    truth: np.ndarray[Any, Any], prediction: np.ndarray[Any, Any], *, target: str, bins: int = BINS
) -> Residuals:
    """The errors by predicted value.

    Args:
        truth: [n], n at least 1.
        prediction: [n].
        target: Its name.
        bins: At most this many, of equally many rows; equal predictions stay together.
    """
    import numpy as np

    errors = truth - prediction
    many = max(1, min(bins, len(truth) // MIN_BIN_ROWS))
    edges = (
        np.unique(np.quantile(prediction, np.linspace(0, 1, many + 1)[1:-1])) if many > 1 else np.array([])
    )
    places = np.searchsorted(edges, prediction, side="left")
    found = []
    for place in np.unique(places):
        within = places == place
        found.append(
            ErrorBin(
                float(prediction[within].mean()),
                float(truth[within].mean()),
                int(within.sum()),
                _errors_at(errors[within]),
            )
        )
    return Residuals(target, len(truth), float(errors.mean()), _errors_at(errors), tuple(found))


def _errors_at(errors: np.ndarray[Any, Any]) -> tuple[float, ...]:
    import numpy as np

    return tuple(float(value) for value in np.quantile(errors, QUANTILES))


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _quantiles(values: Any) -> tuple[float, ...]:
    found = tuple(_number(value) for value in values)
    if len(found) != len(QUANTILES):
        raise ValueError(f"{len(found)} quantiles, {len(QUANTILES)} are meant")
    return found
