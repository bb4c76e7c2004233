"""One server that looks features up: what it answers, shows, stores, counts and logs."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import serving_kit as kit
from feature_kit import Case, paid, serving_features

from mlops_box.box import Box


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    with serving_features(tmp_path_factory.mktemp("features") / "home") as found:
        yield found


def test_a_pushed_event_is_in_the_next_prediction_of_every_version_that_pins_the_view(case: Case) -> None:
    assert (case.spend(1), case.spend(1, name="spend@1")) == (0.0, 0.0)
    status, body = case.push(paid(1, 90, 10.0), paid(1, 5, 2.0))

    assert (status, body["events"]) == (200, 2)
    assert body["views"] == {
        "activity@2": {"entities": 1, "deferred": 0}, "activity@1": {"entities": 1, "deferred": 0},
    }  # fmt: skip
    assert (case.spend(1), case.spend(1, name="spend@1")) == (12.0, 2.0)
    case.push(paid(1, 1, 5.0))
    assert (case.spend(1), case.spend(1, name="spend@1")) == (17.0, 7.0)


def test_rows_are_looked_up_at_their_own_moment(case: Case) -> None:
    case.push(paid(2, 300, 1.0), paid(2, 10, 2.0))
    moments = [datetime.now(UTC) - timedelta(hours=hours) for hours in (0, 1, 72)]
    body = {
        "entities": [{"card_id": 2}] * 3,
        "rows": [{"amount": 0.0, "paid_at": moment.isoformat()} for moment in moments],
    }

    status, answer = case.ask(body)

    assert status == 200
    # An event happened before the box knew of it: what counts is what the box knows now, of the row's moment.
    assert answer["predictions"] == [3.0, 1.0, 0.0]


def test_the_answer_shows_the_vector_and_its_age_on_request(case: Case) -> None:
    case.push(paid(3, 10, 4.0))

    _, answer = case.ask(
        {"entities": [{"card_id": 3}, {"card_id": 33}], "rows": [{"amount": 1.0}] * 2},
        query="?explain=features",
    )

    seen, unknown = answer["features"]
    assert seen["entity"] == {"card_id": 3}
    assert seen["features"] == {"activity__spend": 4.0}
    assert seen["views"]["activity"]["definition"] == case.day.digest
    assert 590 < seen["views"]["activity"]["age_s"] < 900
    assert unknown["views"]["activity"]["observed_at"] is None
    _, plain = case.ask({"rows": [{"amount": 1.0, "activity__spend": 2.0}]}, query="?explain=features")
    assert (plain["predictions"], plain["features"]) == ([3.0], None)


@pytest.mark.parametrize(
    ("body", "rules"),
    [
        ({"entities": [{"card_id": "7"}], "rows": [{"amount": 1.0}]}, ["card_id.type"]),
        ({"entities": [{}, 7], "rows": [{"amount": 1.0}] * 2}, ["card_id.null", "entity.type"]),
        ({"entities": [{"card_id": 7, "shop": 1}], "rows": [{"amount": 1.0}]}, ["unknown_column"]),
        ({"entities": [{"card_id": 7}], "rows": [{"amount": -1.0}]}, ["amount.min"]),
        ({"entities": [{"card_id": 7}]}, ["amount.null"]),
        ({"entities": [{"card_id": 7}], "rows": [5]}, ["row.type"]),
        ({"entities": [{"card_id": 7}], "rows": [{"amount": 1.0, "activity__spend": 1.0}]}, ["feature.given"]),
    ],
)  # fmt: skip
def test_entities_that_are_none_are_named_by_row_and_rule(case: Case, body: Any, rules: list[str]) -> None:
    status, answer = case.ask(body)

    assert status == 422
    assert answer["error"]["code"] == "contract"
    assert [problem["rule"] for problem in answer["error"]["details"]] == rules


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"entities": [{"card_id": 7}], "rows": []}, 422),
        ({"entities": [], "rows": []}, 422),
        ({"entities": {"card_id": 7}}, 422),
        ({"entities": [{"card_id": 7}], "row": [{"amount": 1.0}]}, 422),
        (b'{"entities": [{"card_id": 7, "card_id": 8}], "rows": [{"amount": 1.0}]}', 400),
    ],
)
def test_bodies_that_do_not_pair_up_are_refused(case: Case, body: Any, status: int) -> None:
    assert case.ask(body)[0] == status


def test_bad_events_are_named_and_none_is_stored(case: Case) -> None:
    status, body = case.push(paid(5, 1, 1.0), paid("five", 1, 1.0))

    assert (status, body["error"]["code"]) == (422, "contract")
    assert [(problem["row"], problem["rule"]) for problem in body["error"]["details"]] == [
        (1, "card_id.type")
    ]
    assert case.spend(5) == 0.0
    assert case.server.call("POST", "/features/activty", {"events": [paid(5, 1, 1.0)]})[0] == 404
    assert case.push(paid(5, 1, 1.0), ids=["a", "b"])[0] == 422


def test_an_entitys_features_are_shown(case: Case) -> None:
    case.push(paid(6, 2, 8.0))

    status, _, body = case.server.call("GET", "/features/activity?card_id=6")

    assert status == 200
    assert (body["version"], body["entity"], body["features"]) == (2, {"card_id": 6}, {"spend": 8.0})
    assert case.server.call("GET", "/features/activity?card_id=x")[0] == 422
    assert case.server.call("GET", "/features/nothing?card_id=6")[0] == 404


def test_lookups_and_pushes_are_counted(case: Case) -> None:
    case.push(paid(8, 2, 8.0))
    case.spend(8)
    case.spend(88)

    _, _, page = case.server.call("GET", "/metrics")

    for series in (
        'mlops_box_feature_lookups_total{outcome="found",view="activity"}',
        'mlops_box_feature_lookups_total{outcome="missing",view="activity"}',
        'mlops_box_feature_age_seconds_count{view="activity"}',
        'mlops_box_feature_events_total{source="tx"}',
        "mlops_box_feature_push_seconds_count",
    ):
        assert series in page


def test_the_log_holds_the_vector_the_definition_and_the_observation(case: Case) -> None:
    case.push(paid(9, 10, 4.0))
    _, answer = case.ask({"entities": [{"card_id": 9}], "rows": [{"amount": 1.0}]})

    logged = case.box.predictions.find(answer["ids"][0])

    assert logged is not None
    assert (logged["feature:amount"], logged["feature:activity__spend"]) == (1.0, 4.0)
    assert json.loads(logged["entity"]) == {"card_id": 9}
    assert logged["definition:activity"] == case.day.digest
    assert timedelta(minutes=9) < logged["feature_time"] - logged["observed:activity"] < timedelta(minutes=15)
    assert logged["observed:activity"] < logged["known:activity"] <= logged["feature_seen"]


def _push_until_killed(server: kit.Server, first: int) -> list[int]:
    """Pushes one event after the other while the server is killed in the midst of one; gives those acknowledged."""
    acknowledged: list[int] = []

    def push_on() -> None:
        for number in itertools.count(first):
            try:
                event = paid(1, 1, 1.0) | {"tx_id": number}
                if server.call("POST", "/features/tx", {"events": [event]})[0] == 200:
                    acknowledged.append(number)
            except (OSError, http.client.HTTPException):
                return

    pushing = threading.Thread(target=push_on)
    pushing.start()
    deadline = time.monotonic() + 60
    while len(acknowledged) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    server.kill()
    pushing.join()
    return acknowledged


def test_no_acknowledged_push_is_lost_when_the_server_is_killed(case: Case, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Box.open(home, actor="test") as box:
        box.features.register(case.day)
        acknowledged: list[int] = []
        for first in (0, 1_000):
            with kit.running(home) as server:
                acknowledged += _push_until_killed(server, first)
        stored = {json.loads(row)["tx_id"] for (row,) in box.online.db.tuples("SELECT row FROM events")}
        newest = box.online.newest(box.online.view_number(case.day.digest, "activity"), "[1]")

    assert len(acknowledged) >= 6
    assert set(acknowledged) <= stored
    # What an event changes is there or not together with it.
    assert newest is not None
    assert newest.features == [float(len(stored))]
