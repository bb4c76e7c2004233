"""A feature at a moment against a reference that anyone can read: forget what came later, look at what is left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_box.features.compute import observations, write_observations
from mlops_box.features.definition import Definition
from mlops_box.features.join import point_in_time_join
from mlops_box.features.view import FeatureView
from tests.feature_case import view_over

START = datetime(2026, 1, 1)
STAMP = pa.timestamp("us")
WINDOW, TTL, SHORT = timedelta(minutes=30), timedelta(minutes=40), timedelta(minutes=15)
# The newest state of each transaction counts; one that was cancelled (amount 0) does not.
SQL = """
select card_id, happened_at, sum(amount) over w as spend, count(*) over w as n, max(amount) over w as most
from (from tx qualify row_number() over (partition by card_id, tx_id order by arrived_at desc, amount desc) = 1)
where amount > 0
window w as (partition by card_id order by happened_at range between interval 30 minutes preceding and current row)
"""
FEATURES = ("spend", "n", "most")
Event = tuple[int, int, int, int, int]


def view() -> Definition:
    return view_over(
        SQL,
        {"spend": "double", "n": "bigint", "most": "double"},
        ttl=TTL,
        ttls={"most": SHORT},
        defaults={"n": 0},
        lookback=WINDOW,
    )


def minute(number: int) -> datetime:
    return START + timedelta(minutes=number)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """(card, transaction, minute it happened, minute it arrived, amount), in any order of delivery; some corrected."""
    events: list[Event] = []
    for number in range(draw(st.integers(0, 7))):
        card, happened = draw(st.integers(1, 2)), 5 * draw(st.integers(0, 12))
        arrived = happened + draw(st.sampled_from([0, 0, 0, 5, 20, 60]))
        for _ in range(draw(st.integers(1, 2))):
            events.append((card, number, happened, arrived, draw(st.integers(0, 5))))
            arrived += draw(st.sampled_from([5, 15, 40]))
    return draw(st.permutations(events))


questions = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 150)), min_size=1, max_size=6)


def table_of(events: list[Event]) -> pa.Table:
    return pa.table(
        {
            "card_id": pa.array([event[0] for event in events], pa.int64()),
            "tx_id": pa.array([event[1] for event in events], pa.int64()),
            "happened_at": pa.array([minute(event[2]) for event in events], STAMP),
            "arrived_at": pa.array([minute(event[3]) for event in events], STAMP),
            "amount": pa.array([float(event[4]) for event in events], pa.float64()),
        }
    )


def naive(events: list[Event], card: int, moment: datetime) -> dict[str, Any]:
    """The features of a card at a moment, from the events that had happened and were known, one by one."""
    newest: dict[int, Event] = {}
    for event in events:
        if event[0] == card and minute(event[2]) <= moment and minute(event[3]) <= moment:
            held = newest.get(event[1])
            if held is None or (event[3], event[4]) > (held[3], held[4]):
                newest[event[1]] = event
    counted = [event for event in newest.values() if event[4] > 0]
    if not counted:
        return {"spend": None, "n": 0, "most": None}
    last = max(minute(event[2]) for event in counted)
    amounts = [float(event[4]) for event in counted if last - WINDOW <= minute(event[2])]
    fresh, young = moment - last <= TTL, moment - last <= SHORT
    return {
        "spend": sum(amounts) if fresh else None,
        "n": len(amounts) if fresh else 0,
        "most": max(amounts) if young else None,
    }


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories(), questions)
def test_a_view_over_late_and_corrected_events_says_what_was_known_then(
    tmp_path: Path, events: list[Event], asked: list[tuple[int, int]]
) -> None:
    assert_as_known(events, asked, tmp_path)


def assert_as_known(events: list[Event], asked: list[tuple[int, int]], tmp_path: Path) -> None:
    """The join over the view's observations answers as :func:`naive` does."""
    definition, by_card = view(), {card: [event for event in events if event[0] == card] for card, _ in asked}
    history = observations(definition, {"tx": table_of(events)}, scratch=tmp_path)
    # The same moments, written with another zone.
    moments = pa.array(
        [minute(question[1]).replace(tzinfo=UTC) for question in asked], pa.timestamp("us", "Asia/Tokyo")
    )
    entities = pa.table(
        {"card_id": pa.array([question[0] for question in asked], pa.int32()), "when": moments}
    )
    joined = point_in_time_join(
        entities, [FeatureView.of(definition, history)], time="when", scratch=tmp_path
    )
    found = [{name: row[f"activity__{name}"] for name in FEATURES} for row in joined.to_pylist()]
    assert found == [naive(by_card[card], card, minute(moment)) for card, moment in asked]


@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_random_histories_say_what_was_known_then(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    events = [
        (card, number, happened, arrived, random.randint(0, 5))
        for card in range(350)
        for number in range(random.randint(0, 6))
        for happened in [5 * random.randint(0, 12)]
        for late in [random.choice([0, 0, 5, 20, 60])]
        for arrived in [happened + late, happened + late + random.choice([5, 15, 40])][: random.randint(1, 2)]
    ]
    random.shuffle(events)
    asked = [(card, random.randint(0, 150)) for card in range(350) for _ in range(4)]
    assert_as_known(events, asked, tmp_path)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories())
def test_one_entity_alone_and_a_file_of_all_give_the_same_observations(
    tmp_path: Path, events: list[Event]
) -> None:
    definition = view()
    history = observations(definition, {"tx": table_of(events)}, scratch=tmp_path)
    alone = [
        observations(
            definition, {"tx": table_of([event for event in events if event[0] == card])}, scratch=tmp_path
        )
        for card in (1, 2)
    ]
    assert pa.concat_tables(alone).equals(history)
    written = write_observations(
        definition, {"tx": table_of(events)}, tmp_path / "history.parquet", scratch=tmp_path
    )
    assert FeatureView.of(definition, [written.path]).schema.remove_metadata() == history.schema
    assert written.rows == history.num_rows


def test_what_a_correction_took_back_is_as_old_as_what_it_left() -> None:
    events = [(1, 1, 0, 0, 5), (1, 2, 30, 30, 7), (1, 2, 30, 35, 0)]
    definition = view()
    history = observations(definition, {"tx": table_of(events)}, scratch=Path("/nonexistent"))
    entities = pa.table({"card_id": [1, 1, 1], "when": pa.array([minute(34), minute(36), minute(41)], STAMP)})
    joined = point_in_time_join(entities, [FeatureView.of(definition, history)], time="when")
    assert joined["activity__spend"].to_pylist() == [12.0, 5.0, None]


def test_looking_back_with_the_knowledge_of_another_day_uses_every_correction(tmp_path: Path) -> None:
    events = [(1, 1, 0, 0, 5), (1, 1, 0, 60, 9)]
    history = observations(view(), {"tx": table_of(events)}, scratch=tmp_path)
    entities = pa.table({"card_id": [1], "when": pa.array([minute(10)], STAMP)})
    views = [FeatureView.of(view(), history)]
    then = point_in_time_join(entities, views, time="when")
    now = point_in_time_join(entities, views, time="when", known_at=minute(90).replace(tzinfo=UTC))
    assert (then["activity__spend"].to_pylist(), now["activity__spend"].to_pylist()) == ([5.0], [9.0])


@pytest.mark.parametrize("late", [False, True])
def test_events_that_do_not_fit_into_memory_are_computed_and_joined_from_the_disk(
    tmp_path: Path, late: bool
) -> None:
    import numpy as np
    import pyarrow.parquet as pq

    rows = 200_000
    random = np.random.default_rng(7)
    happened = np.sort(random.integers(0, 30 * 86_400_000_000, rows)) + 1_767_225_600_000_000
    delay = random.integers(0, 864_000_000_000, rows) * (random.uniform(size=rows) < 0.001) if late else 0
    pq.write_table(
        pa.table(
            {
                "card_id": random.integers(0, 20_000, rows), "tx_id": np.arange(rows),
                "happened_at": pa.array(happened, STAMP), "arrived_at": pa.array(happened + delay, STAMP),
                "amount": random.uniform(1, 9, rows),
            }
        ),
        tmp_path / "tx.parquet",
    )  # fmt: skip
    events = {"tx": [tmp_path / "tx.parquet"]}
    sql = SQL.split("(from tx")[0] + "tx window" + SQL.split("window", 1)[1]
    definition = view_over(sql, {"spend": "double", "n": "bigint", "most": "double"}, name="big")
    target = tmp_path / "big.parquet"
    written = write_observations(definition, events, target, scratch=tmp_path, memory_limit="48MB")
    assert written.late is late
    entities = pa.table(
        {"card_id": random.integers(0, 20_000, 50_000), "when": pa.array(happened[:50_000], STAMP)}
    )
    joined = point_in_time_join(
        entities, [FeatureView.of(definition, [target])], time="when", scratch=tmp_path, memory_limit="64MB"
    )
    assert joined.num_rows == 50_000
    assert 0 < joined["big__n"].null_count < 50_000
