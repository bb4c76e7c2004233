"""A device's server as a process: what survives its death, how a version takes over, how it ends, whom it asks for tokens."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_box.edge.device.errors import Refused
from mlops_box.edge.device.log import PREDICTION, TRUTH, WINDOW, RingLog
from mlops_box.edge.device.place import Place
from mlops_box.edge.device.probe import Counts, announced, counts, is_ready, rss_bytes
from mlops_box.edge.device.server.tokens import FileTokens
from mlops_box.models.golden import Golden
from mlops_box.monitoring.counts import WindowCounts
from tests.integration.device_kit import (
    DeviceServer,
    add_runtime,
    fill_slot,
    make_place,
    running_device,
    serve_slot,
    start_device,
    wait_until,
)
from tests.integration.serving_kit import RATE, RATE_PROJECT, rate_model

RNG = np.random.default_rng(0)
REFERENCE = pa.table({"a": RNG.uniform(0, 100, 500), "b": RNG.normal(size=500)})


def fill(
    place: Place,
    name: str,
    number: int,
    weight: float = 1.0,
    *,
    wrong: bool = False,
    busy: int = 0,
    **more: Any,
) -> None:
    """A version whose answer to a = 1, b = 0 is its weight."""
    golden = Golden(({"a": 1.0, "b": 0.0},), prediction=(weight + wrong,))
    more = {"project": RATE_PROJECT, **more}
    fill_slot(
        place, name, "rates", number, packed=rate_model(weight, busy=busy), signature=RATE, golden=golden, reference=REFERENCE, **more
    )  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = make_place(tmp_path / "edge")
    fill(found, "a", 1)
    serve_slot(found, "a")
    return found


class Hammer:
    """A client that asks one request after the other, each on a kept connection, until it is stopped."""

    def __init__(self, server: DeviceServer) -> None:
        self.answers: list[dict[str, Any]] = []
        self.problems: list[str] = []
        self._server = server
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        connection = self._server.connect()
        body = json.dumps({"rows": [{"a": 1.0, "b": 0.0}]})
        while not self._stopping.is_set():
            try:
                connection.request(
                    "POST", "/models/rates/predict", body, {"Content-Type": "application/json"}
                )
                response = connection.getresponse()
                content = json.loads(response.read())
            except (OSError, ValueError) as error:
                self.problems.append(repr(error))
                return
            if response.status == 200:
                self.answers.append(content)
            else:
                self.problems.append(str(content))
        connection.close()


def records(place: Place, kind: str) -> list[dict[str, Any]]:
    ring = RingLog(place.log, 64_000_000)
    found = [json.loads(entry.body) for entry in ring.read(0, 1 << 40) if entry.kind == kind]
    ring.close()
    return found


def test_killed_under_load_it_has_what_it_answered_before_the_last_commit_and_all_truths(
    place: Place,
) -> None:
    server = start_device(place, "a")
    hammer = Hammer(server)
    wait_until(lambda: len(hammer.answers) > 300)
    first = hammer.answers[0]["ids"][0]
    status, _, body = server.call("POST", "/models/rates/feedback", {"truth": [{"id": first, "value": 2.5}]})
    assert (status, body["stored"]) == (200, 1)
    wait_until(lambda: bool(records(place, PREDICTION)))
    before = len(hammer.answers)
    seen = len(records(place, PREDICTION))
    # Two commits later all that was answered at `before` must be on the disk, and stay there.
    wait_until(lambda: len(records(place, PREDICTION)) >= max(before, seen) + 400)
    server.kill()
    hammer.stop()
    logged = [one["id"] for one in records(place, PREDICTION)]
    answered = [answer["ids"][0] for answer in hammer.answers]
    # In the order of their answers, nothing missing in between: only the newest can be lost.
    assert logged == answered[: len(logged)] or answered == logged[: len(answered)]
    assert set(answered[:before]) <= set(logged)
    assert records(place, TRUTH) == [{"id": first, "value": 2.5, "model": "rates"}]
    assert records(place, PREDICTION)[0]["row"] == {"a": 1.0, "b": 0.0}
    with running_device(place, "a") as again:
        assert again.predict("rates", {"a": 1.0, "b": 0.0})[2]["predictions"] == [1.0]
        assert again.stop() == 0
    assert len(records(place, PREDICTION)) == len(logged) + 1


def test_a_model_only_update_takes_over_in_place_without_a_dropped_request(place: Place) -> None:
    with running_device(place, "a") as server:
        hammers = [Hammer(server) for _ in range(3)]
        wait_until(lambda: all(len(hammer.answers) > 20 for hammer in hammers))
        fill(place, "b", 2, 7.0)
        serve_slot(place, "b")
        wait_until(lambda: server.said()["slot"] == "b")
        told = [len(hammer.answers) for hammer in hammers]
        wait_until(
            lambda: all(len(hammer.answers) > count + 20 for hammer, count in zip(hammers, told, strict=True))
        )
        # A version that answers its golden rows wrongly does not take over.
        fill(place, "a", 3, 9.0, wrong=True)
        serve_slot(place, "a")
        wait_until(lambda: bool(server.call("GET", "/readyz")[2]["problems"]))
        for hammer in hammers:
            hammer.stop()
            assert not hammer.problems
            values = [answer["predictions"][0] for answer in hammer.answers]
            assert set(values) == {1.0, 7.0}
            assert values == sorted(values), "once the new version answers, the old one does not again"
        assert "golden" in server.call("GET", "/readyz")[2]["problems"][0]
        assert server.said()["version"] == "rates@2"
        assert server.stop() == 0
    numbers = [one["number"] for one in records(place, PREDICTION)]
    assert set(numbers) == {1, 2}
    windows = records(place, WINDOW)
    assert {one["number"] for one in windows} == {1, 2}
    counted = dict.fromkeys((1, 2), 0)
    for one in windows:
        counted[one["number"]] += WindowCounts.from_dict(one["counts"]).rows
    assert counted == {number: numbers.count(number) for number in (1, 2)}


def test_a_large_model_is_in_memory_once_also_after_it_was_replaced(place: Place) -> None:
    width = 3000
    model_bytes = 4 * width * width
    with running_device(place, "a") as server:
        small_bytes = rss_bytes(server.process.pid)
    for slot, number in (("a", 1), ("b", 2)):
        fill(place, slot, number, busy=width)
    with running_device(place, "a") as server:
        server.call("POST", "/models/rates/predict", {"rows": [{"a": 1.0, "b": 0.0}]})
        once_bytes = rss_bytes(server.process.pid)
        serve_slot(place, "b")
        wait_until(lambda: server.said()["slot"] == "b")
        wait_until(lambda: rss_bytes(server.process.pid) - small_bytes < 1.6 * model_bytes)
    assert once_bytes - small_bytes < 1.6 * model_bytes


def test_a_version_of_another_runtime_ends_the_server_with_the_code_that_asks_for_a_restart(
    place: Place,
) -> None:
    server = start_device(place, "a")
    assert server.predict("rates", {"a": 1.0, "b": 0.0})[0] == 200
    other = "3" * 64
    add_runtime(place, other)
    fill(place, "b", 2, 7.0, runtime=other)
    serve_slot(place, "b")
    assert server.process.wait(timeout=20) == 75
    assert len(records(place, PREDICTION)) == 1
    with running_device(place, "b") as again:
        assert again.predict("rates", {"a": 1.0, "b": 0.0})[2]["predictions"] == [7.0]


def test_what_is_redacted_or_not_drawn_never_reaches_the_disk(tmp_path: Path) -> None:
    place = make_place(tmp_path / "edge")
    fill(place, "a", 1, project=RATE_PROJECT + '[edge]\nredact = ["b"]\nlog_sample = "50%"\n')
    serve_slot(place, "a")
    with running_device(place, "a") as server:
        for index in range(40):
            row = {"a": 1.0, "b": 0.123456789, "at": f"2026-03-04T05:0{index % 10}:00Z"}
            assert server.predict("rates", row)[0] == 200
        assert server.stop() == 0
    found = records(place, PREDICTION)
    assert len(found) == 40
    assert 10 < sum(one["row"] is not None for one in found) < 30
    assert {one["time"][:16] for one in found} == {f"2026-03-04T05:0{minute}" for minute in range(10)}
    assert b"0.123456789" not in place.log.read_bytes()
    (window,) = records(place, WINDOW)
    counts = WindowCounts.from_dict(window["counts"])
    assert (counts.rows, counts.columns[0].rows, counts.columns[1].rows) == (40, 40, 0)
    assert (window["by"], window["starts_at"]) == ("event", "2026-03-04T05:00:00.000000Z")


def test_beyond_the_loopback_interface_it_asks_for_a_token_and_does_not_start_without_one(
    place: Place,
) -> None:
    with pytest.raises(AssertionError, match="there is none"):
        start_device(place, "a", "--allow-host", "edge.local")
    token = FileTokens(place.tokens).add("line 4")
    assert place.tokens.stat().st_mode & 0o077 == 0
    with pytest.raises(Refused, match="already"):
        FileTokens(place.tokens).add("line 4")
    with running_device(place, "a", "--allow-host", "edge.local") as server:
        row = {"rows": [{"a": 1.0, "b": 0.0}]}
        named = {"Host": "edge.local:8080"}
        assert server.call("POST", "/models/rates/predict", row, named)[0] == 401
        good = {**named, "Authorization": f"Bearer {token}"}
        assert server.call("POST", "/models/rates/predict", row, good)[0] == 200
        assert server.call("GET", "/livez", None, named)[0] == 200
        assert server.call("GET", "/livez", None, {"Host": "other.local"})[0] == 421
        # The agent beside it is let in as this machine's own.
        told = announced(place)
        assert told is not None
        assert server.call("GET", "/metrics")[0] == 401
        assert (is_ready(told), counts(told, 1)) == (True, Counts(good=1))
