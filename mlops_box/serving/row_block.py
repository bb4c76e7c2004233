"""Many rows of numbers at once: one matrix is checked and encoded, in place of thousands of values one by one."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_box.data.arrays import MatrixContract
from mlops_box.data.rows import RowContract

# Below this many rows a matrix costs more than it saves.
FEWEST = 8
_PLAIN = frozenset({"double", "bigint"})


class RowBlock:
    """Passes rows that are plainly good; says nothing of others, which are for the contract of single rows.

    Args:
        rules: The contract of the features.
        features: All numeric, in order.
    """

    def __init__(self, rules: RowContract, features: Sequence[str]):
        checks = [rules.checks[name] for name in features if name in rules.checks]
        self._fits = len(features) > 1 and all(check.rule.type in _PLAIN for check in checks)
        self._width = len(features)
        self._values_of = itemgetter(*features)
        self._pack = struct.Struct(f"={len(features)}d").pack
        self._contract = MatrixContract(rules, features, np.float64)

    def matrix(self, rows: Sequence[Any], body: bytes) -> npt.NDArray[np.float32] | None:
        """float32 [rows, features] when every row is an object of exactly the features, all within the contract.

        Args:
            rows: As parsed from ``body``.
            body: JSON. Booleans are no numbers to the contract, and nowhere else can they be told from them any more.
        """
        if not self._fits or len(rows) < FEWEST or b"true" in body or b"false" in body:
            return None
        width, values_of, pack = self._width, self._values_of, self._pack
        try:
            if set(map(type, rows)) != {dict} or set(map(len, rows)) != {width}:
                return None
            flat = b"".join([pack(*values_of(row)) for row in rows])
        except (struct.error, KeyError, OverflowError):
            return None  # a text, a null, a column of another name, an integer beyond float64
        matrix = np.frombuffer(flat).reshape(len(rows), width)
        if not self._contract.plainly_good(matrix).all():
            return None
        with np.errstate(over="ignore"):
            return matrix.astype(np.float32)
