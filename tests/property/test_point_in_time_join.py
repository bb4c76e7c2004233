"""The join against a reference that anyone can read: for each row, look at what was known, take the newest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_box.errors import SourceError
from mlops_box.features.join import point_in_time_join
from mlops_box.features.view import FeatureView

START = datetime(2026, 1, 1, tzinfo=UTC)
STAMP = pa.timestamp("us", "UTC")
minutes = st.integers(0, 12).map(lambda step: START + timedelta(minutes=10 * step))
observation = st.tuples(st.integers(1, 2), minutes, minutes, st.one_of(st.none(), st.integers(0, 99)))
question = st.tuples(st.integers(1, 3), minutes)


def view_of(rows: list[tuple[int, datetime, datetime, int | None]], ttl: timedelta | None) -> FeatureView:
    history = pa.table(
        {
            "machine": pa.array([row[0] for row in rows], pa.int64()),
            "at": pa.array([row[1] for row in rows], STAMP),
            "known": pa.array([row[2] for row in rows], STAMP),
            "heat": pa.array([row[3] for row in rows], pa.int64()),
        }
    )
    return FeatureView("sensor", history, ("machine",), "at", known="known", ttl=ttl)


def naive(rows: list[Any], key: int, moment: datetime, ttl: timedelta | None) -> int | None:
    usable = [
        (row[1], row[2], order, row[3])
        for order, row in enumerate(rows)
        if row[0] == key and row[1] <= moment and row[2] <= moment
    ]
    if not usable:
        return None
    event, _, _, value = max(usable, key=lambda item: item[:3])
    return None if ttl is not None and moment - event > ttl else value


@settings(max_examples=150, deadline=None)
@given(
    st.lists(observation, max_size=12),
    st.lists(question, min_size=1, max_size=6),
    st.sampled_from([None, 15, 60]),
)
def test_every_row_gets_what_was_known_then_and_nothing_later(
    rows: list[Any], questions: list[tuple[int, datetime]], ttl_minutes: int | None
) -> None:
    ttl = timedelta(minutes=ttl_minutes) if ttl_minutes else None
    entities = pa.table(
        {
            "machine": pa.array([q[0] for q in questions], pa.int64()),
            "when": pa.array([q[1] for q in questions], STAMP),
        }
    )
    joined = point_in_time_join(entities, [view_of(rows, ttl)], time="when")
    assert joined["machine"].to_pylist() == [q[0] for q in questions]
    assert joined["sensor__heat"].to_pylist() == [naive(rows, key, moment, ttl) for key, moment in questions]


def test_a_correction_counts_only_once_it_was_known() -> None:
    at, later = START, START + timedelta(hours=1)
    view = view_of([(1, at, at, 10), (1, at, later, 11)], None)
    entities = pa.table({"machine": [1, 1], "when": pa.array([at + timedelta(minutes=30), later], STAMP)})
    assert point_in_time_join(entities, [view], time="when")["sensor__heat"].to_pylist() == [10, 11]


def test_a_missing_entity_column_is_named() -> None:
    with pytest.raises(SourceError, match="machine"):
        point_in_time_join(
            pa.table({"when": pa.array([START], STAMP)}), [view_of([(1, START, START, 1)], None)], time="when"
        )
