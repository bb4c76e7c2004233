"""What is trained in the simulated worlds: a straight line by least squares, and candidates that go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

Array = np.ndarray[Any, Any]
Poison = Literal["raises", "nan", "constant", "flipped", "slow", "scaled"]
POISONS: tuple[Poison, ...] = ("raises", "nan", "constant", "flipped", "slow", "scaled")


@dataclass(frozen=True)
class Model:
    """Weights of heat, flow, load, each kind; and what it was held out against.

    Attributes:
        poison: What goes wrong when it serves, although it was fine where it was judged.
    """

    weights: Array
    reference: pa.Table
    held_out_mae: float
    trained_on: int
    poison: Poison | None = None

    def answer(self, table: pa.Table) -> Array:
        """[rows]; NaN where it gives no number.

        Raises:
            RuntimeError: A candidate that raises.
        """
        plain = _design(table) @ self.weights
        if self.poison == "raises":
            raise RuntimeError("the candidate raises")
        if self.poison == "nan":
            return np.full(len(plain), np.nan)
        if self.poison == "constant":
            return np.full(len(plain), float(plain.mean()))
        if self.poison == "flipped":
            return -plain
        return plain * 3 if self.poison == "scaled" else plain

    def latency_s(self, draw: np.random.Generator, rows: int) -> Array:
        """[rows]: seconds of each answer."""
        usual = 0.002 * draw.lognormal(0, 0.3, rows)
        return usual * 4 if self.poison == "slow" else usual


def train(table: pa.Table, truth: Array, *, day: int, poison: Poison | None = None) -> Model:
    """Fit on the first four fifths; the newest fifth is held out, as a split by time does it."""
    cut = len(truth) * 4 // 5
    weights, *_ = np.linalg.lstsq(_design(table.slice(0, cut)), truth[:cut], rcond=None)
    held_out = _design(table.slice(cut)) @ weights
    return Model(weights, table.slice(0, cut), mae(held_out, truth[cut:]), day, poison)


def mae(answers: Array, truth: Array) -> float:
    return float(np.abs(answers - truth).mean())


def _design(table: pa.Table) -> Array:
    kind = table["kind"].to_numpy(zero_copy_only=False)
    numbers = [table[name].to_numpy() for name in ("heat", "flow", "load")]
    return np.column_stack([*numbers, *(kind == value for value in ("a", "b", "c"))]).astype(float)
