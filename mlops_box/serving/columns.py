"""The rows of one request, column by column: what tensors and Arrow tables become before they reach the door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Columns:
    """Named columns of equal length, or one matrix of all features.

    Attributes:
        rows: Number of rows, at least one.
        values: Feature (or other known column) to an array [rows]: any number or boolean type for numbers, ``object`` with
            str and ``None`` for text. A feature that is absent counts as null.
        matrix: float32 [rows, features] in the order of the signature, for models whose features are all numeric; then
            ``values`` is empty. NaN is null.
    """

    rows: int
    values: Mapping[str, npt.NDArray[Any]]
    matrix: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return self.rows
