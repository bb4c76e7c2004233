"""Train and test rows of a snapshot, never leaking.

``time``: all test rows are later than all train rows; equal times stay on one side. ``key``: whole groups. ``random``:
by a seeded hash of the row's content, so that a row keeps its side when the data grows, and twins share one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_box.errors import TrainingError
from mlops_box.project import Split

_U64 = np.uint64
_MISSING = _U64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class SplitIndices:
    """Row numbers from 0, int64, each rising; together every row that has a side (rows without a time have none)."""

    train: np.ndarray
    test: np.ndarray


def split(table: pa.Table, declared: Split, *, time: str | None, seed: int) -> SplitIndices:
    """Hold out about ``declared.test`` of the rows.

    Args:
        table: The rows.
        declared: How.
        time: The time column, for ``by = "time"``.
        seed: Another seed holds out other rows (or groups); ``time`` does not depend on it.

    Raises:
        TrainingError: A column is missing, or one side would be empty.
    """
    if declared.by == "time":
        sides = _by_time(table, _column(time, table, "time"), declared.test)
    elif declared.by == "key":
        sides = _by_hash(
            row_hashes(table.select([_column(declared.key, table, "key")]), seed=seed), declared.test
        )
    else:
        sides = _by_hash(row_hashes(table, seed=seed), declared.test)
    if not len(sides.train) or not len(sides.test):
        raise TrainingError(
            f"{table.num_rows} rows split by {declared.by} leave {len(sides.train)} to train and {len(sides.test)} to test",
            hint="more rows are needed, or another split under [model]",
        )
    return sides


def row_hashes(table: pa.Table, *, seed: int) -> np.ndarray:
    """uint64 [n]: a hash of each row's values, independent of its place and of the other rows.

    Columns are hashed by splitmix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators") and
    chained in their order.
    """
    state = np.full(table.num_rows, _mix(np.array([seed], dtype=_U64))[0], dtype=_U64)
    for column in table.columns:
        state = _mix(state ^ _column_hashes(column))
    return state


def _by_time(table: pa.Table, time: str, test: float) -> SplitIndices:
    column = table[time]
    if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        raise TrainingError(f"the time column {time!r} holds {column.type}, no times")
    known = np.flatnonzero(pc.is_valid(column).to_numpy())
    instants = column.cast(pa.timestamp("us")).drop_null().to_numpy().astype(np.int64)
    if not len(instants):
        return SplitIndices(known, known)
    ordered = np.sort(instants)
    cut = ordered[min(len(ordered) - 1, int(np.floor(len(ordered) * (1 - test))))]
    later = instants >= cut
    if later.all():
        # The newest rows share one time with the oldest of the test share: cut after it, if there is an after.
        later = instants > cut
    return SplitIndices(known[~later], known[later])


def _by_hash(hashes: np.ndarray, test: float) -> SplitIndices:
    held_out = hashes < _U64(int(test * 2**64))
    groups = np.unique(hashes)
    if len(groups) > 1 and (held_out.all() or not held_out.any()):
        # Too few rows (or groups) for shares: one of them goes to the empty side.
        held_out = hashes == groups[0] if not held_out.any() else hashes != groups[-1]
    return SplitIndices(np.flatnonzero(~held_out).astype(np.int64), np.flatnonzero(held_out).astype(np.int64))


def _column_hashes(column: Any) -> np.ndarray:
    valid = pc.is_valid(column).to_numpy()
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        coded = column.combine_chunks().dictionary_encode()
        words = np.array([_text_hash(text) for text in coded.dictionary.to_pylist()] or [0], dtype=_U64)
        bits = words[coded.indices.fill_null(0).to_numpy(zero_copy_only=False)]
    elif pa.types.is_floating(kind):
        numbers = np.nan_to_num(pc.fill_null(column.cast(pa.float64()), 0.0).to_numpy(), nan=0.0, posinf=np.inf, neginf=-np.inf)  # fmt: skip
        # Adding zero turns -0.0 into 0.0: equal values must hash alike.
        bits = (numbers + 0.0).view(_U64)
        valid = valid & ~pc.fill_null(pc.is_nan(column), False).to_numpy()
    elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        bits = pc.fill_null(column.cast(pa.timestamp("us")).cast(pa.int64()), 0).to_numpy().view(_U64)
    else:
        bits = pc.fill_null(column.cast(pa.int64()), 0).to_numpy().view(_U64)
    return np.where(valid, _mix(bits), _MISSING)


def _text_hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _mix(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        mixed = values + _U64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> _U64(30))) * _U64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> _U64(27))) * _U64(0x94D049BB133111EB)
        result: np.ndarray = mixed ^ (mixed >> _U64(31))
    return result


def _column(column: str | None, table: pa.Table, role: str) -> str:
    if column is None:
        raise TrainingError(
            f'split by = "{role}" needs a {role} column', hint='add time = "..." under [data]'
        )
    if column not in table.column_names:
        raise TrainingError(
            f"the data has no column {column!r} to split by", hint=", ".join(table.column_names)
        )
    return column
