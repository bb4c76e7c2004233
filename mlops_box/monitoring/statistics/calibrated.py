"""How unusual an effect is among the effects of earlier windows.

A p-value that counts rows knows only the chance among rows. Windows of the real world differ by more than that, from
day to day, without anything being wrong. How much is learnt from earlier windows, each held against the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Scale = Literal["log", "atanh"]
_LEAST = 0.01  # effects below this are all alike: their logarithms must not stretch the scale
_LEAST_SPREAD = {"log": 0.1, "atanh": 0.005}


@dataclass(frozen=True)
class Usual:
    """A normal fit of earlier effects: of their logarithms, or of the inverse hyperbolic tangent of signed ones."""

    windows: int
    mean: float
    spread: float
    scale: Scale = "log"

    def p_value(self, effect: float) -> float:
        """Chance that a window like the earlier ones has at least this effect: the prediction interval of Student's t.

        Source: Geisser (1993), Predictive Inference, section 2.1: a new normal value lies ``t(n-1) * s * sqrt(1 + 1/n)``
        from the mean of n.
        """
        from scipy.special import stdtr

        distance = (_scaled(effect, self.scale) - self.mean) / (self.spread * math.sqrt(1 + 1 / self.windows))
        return float(stdtr(self.windows - 1, -distance))

    def reach(self, p: float = 0.01) -> float:
        """The effect that only a share ``p`` of such windows exceeds."""
        from scipy.special import stdtrit

        spread = self.spread * math.sqrt(1 + 1 / self.windows)
        value = self.mean + float(stdtrit(self.windows - 1, 1 - p)) * spread
        return min(1.0, math.exp(min(value, 0.0)) if self.scale == "log" else math.tanh(value))


def fit_usual(effects: Sequence[float], scale: Scale = "log") -> Usual:
    """Fit the effects of at least two windows.

    >>> usual = fit_usual([0.1, 0.12, 0.09, 0.11, 0.1, 0.13, 0.08, 0.1])
    >>> usual.p_value(0.1) > 0.3, usual.p_value(0.4) < 0.001
    (True, True)
    """
    values = [_scaled(effect, scale) for effect in effects]
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return Usual(len(values), mean, max(math.sqrt(variance), _LEAST_SPREAD[scale]), scale)


def _scaled(effect: float, scale: Scale) -> float:
    return math.log(max(effect, _LEAST)) if scale == "log" else math.atanh(max(min(effect, 0.999), -0.999))
