"""Small worlds that are known through and through: what comes in, what is true, and what changes when.

Every world has three numbers and a category that come in by the day, and a target that depends on two of the numbers
and the category. What differs is what happens at its onset.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import pyarrow as pa

Kind = Literal[
    "null", "season", "sudden", "gradual", "recurring", "concept", "sensor", "late labels", "poisoned"
]
KINDS: tuple[Kind, ...] = (
    "null", "season", "sudden", "gradual", "recurring", "concept", "sensor", "late labels", "poisoned",
)  # fmt: skip
Array = np.ndarray[Any, Any]

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
HISTORY_DAYS = 84
LIFE_DAYS = 42
REQUESTS_A_DAY = 960
SENSOR_DAYS = 6


@dataclass(frozen=True)
class Day:
    """What came in on one day, and what turned out to be true.

    Attributes:
        features: [REQUESTS_A_DAY] rows in the order of the day.
        truth: [REQUESTS_A_DAY].
        known_on: The day on which the truth is known.
    """

    number: int
    features: pa.Table
    truth: Array
    known_on: int


class World:
    """One world. The same seed gives the same world, whatever was asked of it before.

    Args:
        kind: What happens.
        seed: Of all its chance.
    """

    def __init__(self, kind: Kind, seed: int):
        self.kind = kind
        self._seed = seed
        draw = np.random.default_rng([seed, 0])
        self.onset = HISTORY_DAYS + int(draw.integers(10, 18))
        self._weekend = 0.9 if kind == "season" else 0.0
        self._wobble = 0.03
        self._shift = float(draw.uniform(0.9, 1.5)) * float(draw.choice([-1, 1]))
        self._label_delay = 8 if kind == "late labels" else 1

    @property
    def drifts(self) -> bool:
        """Whether a better model than the first can be learnt after the onset."""
        return self.kind in ("sudden", "gradual", "recurring", "concept", "late labels")

    def day(self, number: int) -> Day:
        """Day ``number``, from 0."""
        draw = np.random.default_rng([self._seed, 1, number])
        clean, truth = self._sample(draw, number, REQUESTS_A_DAY)
        return Day(number, self._seen(clean, number), truth, number + self._label_delay)

    def sample(self, number: int, rows: int, *, seed: int) -> tuple[pa.Table, Array]:
        """Fresh rows of the same day as a broken sensor never touched them, to measure what a model is worth."""
        return self._sample(np.random.default_rng([self._seed, 2, number, seed]), number, rows)

    def at(self, number: int) -> datetime:
        return START + timedelta(days=number)

    def _sample(self, draw: np.random.Generator, number: int, rows: int) -> tuple[pa.Table, Array]:
        amount = self._amount(number)
        weekend = self._weekend if number % 7 >= 5 else 0.0
        moved = 0.0 if self.kind in ("concept", "late labels") else amount * self._shift
        day_to_day = float(np.random.default_rng([self._seed, 3, number]).normal(0, self._wobble))
        heat = draw.normal(moved + weekend + day_to_day, 1.0, rows)
        flow = draw.normal(0.0, 1.0, rows)
        load = draw.exponential(1.0, rows)
        kind = draw.choice(["a", "b", "c"], rows, p=[0.6, 0.3, 0.1])
        slope = 2.0 - (2.5 * amount if self.kind in ("concept", "late labels") else 0.0)
        # The bend is what a straight line learnt in one place gets wrong in another.
        truth = slope * heat + 0.6 * heat**2 - flow + (kind == "a") + draw.normal(0, 0.5, rows)
        at = np.datetime64(self.at(number).replace(tzinfo=None), "us") + np.arange(rows) * np.timedelta64(
            1, "s"
        )
        return pa.table({"at": at, "heat": heat, "flow": flow, "load": load, "kind": kind}), truth

    def _amount(self, number: int) -> float:
        """How much of the change has happened, 0 to 1."""
        since = number - self.onset
        if since < 0 or not self.drifts:
            return 0.0
        if self.kind == "gradual":
            return min(1.0, since / 14)
        if self.kind == "recurring":
            return float((since // 7) % 2 == 0)
        return 1.0

    def _seen(self, clean: pa.Table, number: int) -> pa.Table:
        if self.kind != "sensor" or not self.onset <= number < self.onset + SENSOR_DAYS:
            return clean
        place = clean.column_names.index("flow")
        return clean.set_column(place, "flow", pa.array(np.full(clean.num_rows, -3.2)))
