"""Splits never leak, and keep their sides when the data grow."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_box.data.splits import row_hashes, split
from mlops_box.errors import TrainingError
from mlops_box.project import Split

START = datetime(2020, 1, 1)


def _times(hours: list[int | None]) -> pa.Table:
    moments = [None if hour is None else START + timedelta(hours=hour) for hour in hours]
    return pa.table({"at": pa.array(moments, pa.timestamp("us")), "x": list(range(len(hours)))})


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=2, max_size=120), st.floats(0.05, 0.9))
def test_every_test_row_is_later_than_every_train_row(hours: list[int], share: float) -> None:
    table = _times(list(hours))
    if len(set(hours)) == 1:
        with pytest.raises(TrainingError):
            split(table, Split(by="time", test=share), time="at", seed=0)
        return
    sides = split(table, Split(by="time", test=share), time="at", seed=0)
    at = np.array(hours)
    assert at[sides.train].max() < at[sides.test].min()
    assert sorted([*sides.train.tolist(), *sides.test.tolist()]) == list(range(len(hours)))
    assert sides.train.dtype == sides.test.dtype == np.int64


def test_the_newest_fifth_is_held_out_and_rows_without_a_time_are_on_no_side() -> None:
    sides = split(_times([*range(100), None]), Split(by="time", test=0.2), time="at", seed=0)
    assert sides.test.tolist() == list(range(80, 100))
    assert sides.train.tolist() == list(range(80))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("abcdefghijkl"), min_size=2, max_size=100), st.integers(0, 5))
def test_groups_are_never_torn(groups: list[str], seed: int) -> None:
    table = pa.table({"g": groups, "x": list(range(len(groups)))})
    declared = Split(by="key", key="g", test=0.3)
    if len(set(groups)) == 1:
        with pytest.raises(TrainingError):
            split(table, declared, time=None, seed=seed)
        return
    sides = split(table, declared, time=None, seed=seed)
    names = np.array(groups)
    assert not set(names[sides.train]) & set(names[sides.test])
    assert len(sides.train) + len(sides.test) == len(groups)


def _rows(count: int) -> list[dict[str, Any]]:
    return [{"a": n / 7, "b": f"é{n % 13}", "c": n if n % 3 else None, "d": n % 2 == 0} for n in range(count)]


def test_a_row_keeps_its_side_when_the_data_grow_or_are_shuffled() -> None:
    small, grown = _rows(2000), _rows(5000)
    order = np.random.default_rng(0).permutation(len(grown))
    shuffled = [grown[place] for place in order]
    declared = Split(by="random", test=0.2)
    before = split(pa.Table.from_pylist(small), declared, time=None, seed=3)
    after = split(pa.Table.from_pylist(shuffled), declared, time=None, seed=3)
    held_out = {shuffled[row]["a"] for row in after.test}
    assert {small[row]["a"] for row in before.test} <= held_out
    assert not {small[row]["a"] for row in before.train} & held_out
    assert 0.17 < len(after.test) / 5000 < 0.23


def test_twins_share_a_side_and_another_seed_holds_out_others() -> None:
    table = pa.Table.from_pylist(_rows(1000) * 2)
    sides = split(table, Split(by="random", test=0.5), time=None, seed=0)
    assert {row % 1000 for row in sides.test.tolist()}.isdisjoint(row % 1000 for row in sides.train.tolist())
    other = split(table, Split(by="random", test=0.5), time=None, seed=1)
    assert other.test.tolist() != sides.test.tolist()


def test_equal_values_hash_alike_and_a_missing_one_unlike_zero() -> None:
    numbers = pa.table({"x": pa.array([0.0, -0.0, None, math.nan, 1.0])})
    zero, minus_zero, missing, nan, one = row_hashes(numbers, seed=0).tolist()
    assert zero == minus_zero
    assert missing == nan
    assert len({zero, missing, one}) == 3
    flags = row_hashes(pa.table({"x": [True, False, None]}), seed=0).tolist()
    assert len(set(flags)) == 3
    # The value itself is part of the promise: it must not change from version to version.
    assert row_hashes(pa.table({"x": [1], "w": ["ä"]}), seed=7).tolist() == [2396207535561735802]


def test_two_rows_are_one_to_train_and_one_to_test() -> None:
    for seed in range(20):
        sides = split(pa.table({"x": [1, 2]}), Split(by="random", test=0.2), time=None, seed=seed)
        assert (len(sides.train), len(sides.test)) == (1, 1)


@pytest.mark.parametrize(
    ("declared", "time", "said"),
    [
        (Split(by="time"), None, "needs a time column"),
        (Split(by="time"), "x", "no times"),
        (Split(by="key", key="nobody"), None, "no column 'nobody'"),
        (Split(by="key", key="same"), None, "leave"),
    ],
)
def test_an_impossible_split_is_told(declared: Split, time: str | None, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        split(pa.table({"x": [1, 2], "same": ["a", "a"]}), declared, time=time, seed=0)
