"""The counts of the kill benchmark: every kind of loss is seen."""

from __future__ import annotations

import pytest

from benchmarks.faults.lives import Acknowledged, Found, compare

TOLD = Acknowledged(answers={"a": 1.0, "b": 2.0}, truths={"a": 5.0})


@pytest.mark.parametrize(
    ("ids", "values", "truths", "found"),
    [
        (["a", "b"], [1.0, 2.0], {"a": 5.0}, Found(0, 0, 0, 0, 0)),
        (["a"], [1.0], {"a": 5.0}, Found(1, 0, 0, 0, 0)),
        (["a", "b"], [1.0, 2.1], {"a": 5.0}, Found(0, 1, 0, 0, 0)),
        (["a", "b", "b"], [1.0, 2.0, 2.0], {"a": 5.0}, Found(0, 0, 1, 0, 0)),
        (["a", "b", "c"], [1.0, 2.0, 3.0], {"a": 5.0}, Found(0, 0, 0, 1, 0)),
        (["a", "b"], [1.0, 2.0], {}, Found(0, 0, 0, 0, 1)),
        (["a", "b"], [1.0, 2.0], {"a": 4.0}, Found(0, 0, 0, 0, 1)),
    ],
    ids=["nothing", "missing", "different", "twice", "unasked", "truth missing", "truth different"],
)
def test_every_kind_of_loss_is_seen(
    ids: list[str], values: list[float], truths: dict[str, float], found: Found
) -> None:
    assert compare(TOLD, ids, values, truths) == found
