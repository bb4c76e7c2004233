"""Pushed events are kept once and change what is looked up next; bad ones change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from mlops_box.clock import FixedClock, isoformat
from mlops_box.errors import NotFoundError, SourceError
from mlops_box.features.compute import observations
from mlops_box.features.definition import Definition
from mlops_box.features.events import EventLog, event_table, source_key
from mlops_box.features.join import point_in_time_join
from mlops_box.features.lookup import FeatureLookup
from mlops_box.features.online import OnlineStore
from mlops_box.features.push import Pusher
from mlops_box.features.pushed import EventsRefused
from mlops_box.features.view import FeatureView
from tests.feature_case import ACTIVITY, TX, view_over

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PUNCTUAL = replace(TX, known=None)


class Case:
    """A store, a pusher and a clock."""

    def __init__(self, folder: Path, *definitions: Definition):
        self.store = OnlineStore(folder)
        self.clock = FixedClock(NOW)
        self.scratch = folder
        self.pusher = Pusher(self.store, lambda: definitions, self.clock, scratch=folder)
        self.definitions = {definition.name: definition for definition in definitions}
        self.lookup = FeatureLookup(self.store, self.definitions, self.clock)

    def push(self, *rows: dict[str, Any], **options: Any) -> Any:
        return self.pusher.push("tx", list(rows), **options)

    def features(self, card: object, at: datetime = NOW) -> dict[str, Any]:
        return self.lookup.look_up([{"card_id": card}], [round(at.timestamp() * 1_000_000)]).rows[0]


def activity(**options: Any) -> Definition:
    options = {"source": PUNCTUAL, "lookback": HOUR, **options}
    return view_over(ACTIVITY, {"n_1h": "bigint", "spend_1h": "double"}, **options)


def paid(card: Any, minutes_ago: float, amount: float, tx_id: int | None = None) -> dict[str, Any]:
    moment = NOW - timedelta(minutes=minutes_ago)
    return {"card_id": card, "tx_id": tx_id, "happened_at": moment.isoformat(), "amount": amount}


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    opened = Case(tmp_path, activity(ttl=2 * HOUR, defaults={"n_1h": 0}))
    yield opened
    opened.store.close()


def test_the_next_lookup_sees_a_push_in_its_windows(case: Case) -> None:
    case.push(paid(7, 90, 1.0), paid(7, 40, 2.0), paid(8, 5, 99.0))
    case.push(paid(7, 1, 3.0))

    assert case.features(7) == {"activity__n_1h": 2, "activity__spend_1h": 5.0}
    assert case.features(7, NOW - timedelta(minutes=30)) == {"activity__n_1h": 2, "activity__spend_1h": 3.0}


def test_what_is_missing_or_too_old_is_its_default(case: Case) -> None:
    case.push(paid(7, 90, 1.0))

    unknown = {"activity__n_1h": 0, "activity__spend_1h": None}
    assert case.features(9) == unknown
    assert case.features(7) == {"activity__n_1h": 1, "activity__spend_1h": 1.0}
    assert case.features(7, NOW + HOUR) == unknown


def test_a_push_that_is_sent_again_counts_once(case: Case) -> None:
    first = case.push(paid(7, 5, 1.0), paid(7, 5, 1.0))
    again = case.push(paid(7, 5, 1.0))
    apart = case.push(paid(7, 5, 1.0), paid(7, 5, 1.0), ids=["a", "b"])

    assert (first.events, first.known, again.events, apart.events) == (1, 1, 0, 2)
    assert case.features(7)["activity__n_1h"] == 3


def test_an_id_stands_for_one_event(case: Case) -> None:
    case.push(paid(7, 5, 1.0), ids=["a"])

    with pytest.raises(EventsRefused) as refused:
        case.push(paid(7, 4, 1.0), paid(7, 5, 2.0), ids=["b", "a"])

    assert refused.value.details["problems"] == [
        {
            "row": 1,
            "column": None,
            "rule": "id.conflict",
            "message": "the id 'a' stands for another event already",
        }
    ]
    assert case.features(7)["activity__n_1h"] == 1


def test_bad_events_are_named_and_none_is_stored(case: Case) -> None:
    with pytest.raises(EventsRefused) as refused:
        case.push(paid(7, 5, 1.0), {"card_id": None, "happened_at": "noon", "amont": 3}, paid(True, 5, 1.0))

    problems: Any = refused.value.details["problems"]
    assert [(problem["row"], problem["rule"]) for problem in problems] == [
        (1, "unknown_column"), (1, "card_id.null"), (1, "happened_at.type"), (2, "card_id.type"),
    ]  # fmt: skip
    assert case.features(7)["activity__n_1h"] == 0
    assert case.store.db.tuples("SELECT count(*) FROM events") == [(0,)]


def test_events_that_break_a_views_sql_are_refused_whole(tmp_path: Path) -> None:
    broken = view_over(
        "select card_id, happened_at, cast(amount as tinyint) as small from tx", {"small": "bigint"},
        name="broken", source=PUNCTUAL, lookback=HOUR,
    )  # fmt: skip
    case = Case(tmp_path, activity(), broken)
    case.push(paid(7, 5, 1.0))

    with pytest.raises(SourceError, match="broken"):
        case.push(paid(7, 4, 1_000.0))

    assert case.features(7)["activity__n_1h"] == 1
    assert case.store.db.tuples("SELECT count(*) FROM events") == [(1,)]
    case.store.close()


def test_nobody_pushes_to_what_is_not_there(case: Case) -> None:
    with pytest.raises(NotFoundError, match="no feature view or source 'tz'"):
        case.pusher.push("tz", [paid(7, 5, 1.0)])


def test_two_processes_see_each_others_pushes(case: Case, tmp_path: Path) -> None:
    other = Case(tmp_path, *case.definitions.values())
    assert other.features(7)["activity__n_1h"] == 0

    case.push(paid(7, 5, 1.0))
    assert other.features(7)["activity__n_1h"] == 1
    other.push(paid(7, 4, 1.0))
    assert case.features(7)["activity__n_1h"] == 2
    other.store.close()


def test_many_entities_are_looked_up_as_each_alone(case: Case) -> None:
    random = Random(5)
    case.push(
        *(paid(random.randint(0, 30), random.randint(0, 300), random.randint(1, 9), n) for n in range(120))
    )
    cards = [random.randint(0, 40) for _ in range(60)]
    at_us = [round((NOW - timedelta(minutes=random.randint(0, 200))).timestamp() * 1e6) for _ in cards]

    together = case.lookup.look_up([{"card_id": card} for card in cards], at_us)

    alone = FeatureLookup(case.store, case.definitions, case.clock)
    assert together.rows == [
        alone.look_up([{"card_id": card}], [at]).rows[0] for card, at in zip(cards, at_us, strict=True)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_pushes_in_any_order_give_what_the_join_gives_over_the_whole_history(
    tmp_path: Path, seed: int
) -> None:
    """Late events included: the source says when each was known, or the box notes when it arrived."""
    random = Random(seed)
    definition = activity(source=TX, ttl=2 * HOUR, defaults={"n_1h": 0})
    case = Case(tmp_path, definition)
    for number in range(6):
        case.clock.advance(timedelta(minutes=7))
        arrived = (case.clock.now() - NOW) / timedelta(minutes=1)
        late = [
            paid(random.randint(1, 2), random.randint(0, 200) - arrived, float(n), 10 * number + n)
            for n in range(3)
        ]
        case.push(*late)

    key = source_key(definition, "tx")
    stored = [row for (row,) in case.store.db.tuples("SELECT row FROM events WHERE source = ?", (key,))]
    whole = observations(definition, {"tx": event_table(TX, stored)}, scratch=tmp_path)
    moments = [case.clock.now() - timedelta(minutes=random.randint(0, 240)) for _ in range(40)]
    cards = [random.randint(1, 3) for _ in moments]
    entities = pa.table({"card_id": cards, "t": pa.array(moments, pa.timestamp("us", tz="UTC"))})
    expected = point_in_time_join(
        entities, [FeatureView.of(definition, whole)], time="t", known_at=case.clock.now(), scratch=tmp_path
    )

    found = [case.features(card, moment) for card, moment in zip(cards, moments, strict=True)]
    assert found == expected.select(["activity__n_1h", "activity__spend_1h"]).to_pylist()
    case.store.close()


def test_events_of_long_ago_wait_for_materialising_where_their_windows_are_not_online(case: Case) -> None:
    from mlops_box.features.online import set_mark
    from mlops_box.features.push import kept_from

    definition = case.definitions["activity"]
    with case.store.write() as tx:
        set_mark(tx, kept_from(source_key(definition, "tx")), round((NOW - 3 * HOUR).timestamp() * 1e6))

    done = case.push(paid(7, 200, 1.0), paid(8, 100, 1.0))

    assert [(update.entities, update.deferred) for update in done.updates] == [(2, 1)]
    assert case.features(7)["activity__n_1h"] == 0
    assert case.features(8)["activity__n_1h"] == 1


def test_an_event_without_a_time_of_knowledge_was_known_when_it_arrived(tmp_path: Path) -> None:
    case = Case(tmp_path, activity(source=TX))
    case.push(paid(7, 30, 1.0))

    [(row,)] = case.store.db.tuples("SELECT row FROM events")
    event = event_table(TX, [row]).to_pylist()[0]
    assert isoformat(event["arrived_at"].replace(tzinfo=UTC)) == isoformat(NOW)
    assert EventLog(case.store).count_after(source_key(case.definitions["activity"], "tx"), 0) == 1
    case.store.close()
