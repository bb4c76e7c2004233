"""Axes have round numbers and round times on them, not too many and within their ends."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlops_box_tui.widgets.ticks import number_ticks, time_ticks

MOST = st.integers(2, 12)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), MOST, st.booleans())
def test_ticks_lie_on_the_axis_in_order_and_are_no_more_than_asked_for(
    low: float, span: float, most: int, whole: bool
) -> None:
    places, labels = number_ticks(low, low + span, most, whole=whole)
    slack = 1e-6 * max(abs(low), span, 1.0)
    assert len(places) == len(labels) <= most
    assert places == sorted(set(places))
    assert all(low - slack <= place <= low + span + slack for place in places)
    assert not whole or all(place == round(place) for place in places)
    assert whole or places


@given(st.floats(0, 4e9), st.floats(60, 3e9), MOST)
def test_times_lie_on_the_axis_in_order_and_are_no_more_than_asked_for(
    low: float, span: float, most: int
) -> None:
    places, labels = time_ticks(low, low + span, most)
    assert len(places) == len(labels) <= most
    assert places == sorted(set(places))
    assert all(low - 1 <= place <= low + span + 1 for place in places)


@pytest.mark.parametrize(
    ("low", "high", "most", "labels"),
    [
        (0.02, 0.34, 5, ["0.1", "0.2", "0.3"]),
        (0.0, 1.0, 6, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (41.0, 64.0, 5, ["45", "50", "55", "60"]),
        (-3.2, 3.2, 4, ["-2", "0", "2"]),
        (0, 41_000, 5, ["0", "10 000", "20 000", "30 000", "40 000"]),
        (0.0012, 0.0031, 4, ["0.0015", "0.0020", "0.0025", "0.0030"]),
    ],
)
def test_numbers_have_as_many_decimals_as_they_need(
    low: float, high: float, most: int, labels: list[str]
) -> None:
    assert number_ticks(low, high, most)[1] == labels


def test_a_day_is_named_at_its_beginning() -> None:
    def at(day: int, hour: int) -> float:
        return datetime(2026, 3, day, hour, tzinfo=UTC).timestamp()

    assert time_ticks(at(13, 20), at(14, 9), 6)[1] == ["03-13 21:00", "03-14", "03:00", "06:00", "09:00"]
    assert time_ticks(at(1, 5), at(9, 5), 9)[1] == [f"03-0{day}" for day in range(2, 10)]
