"""The read models: filters in SQL, pages, small histograms, the server seen from outside."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_box.box import Box
from mlops_box.clock import FixedClock, isoformat
from mlops_box.errors import NotFoundError, UsageError
from mlops_box.home import Home
from mlops_box.operations.views import (
    Query,
    ServedModel,
    list_runs,
    read_counts,
    read_pulse,
    read_serving,
    run_detail,
)
from mlops_box.operations.views.serving import read_samples
from mlops_box.operations.views.shapes import equal_width
from mlops_box.runs import this_process
from mlops_box.serving.address import ServerAddress

NOW = datetime(2026, 3, 14, tzinfo=UTC)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box.open(tmp_path / "box", clock=FixedClock(NOW)) as opened:
        owner = this_process()
        for place, (state, project) in enumerate(
            [("completed", "churn"), ("failed", "churn"), ("failed", "fraud 100%"), ("running", "x_y")]
        ):
            with opened.db.write() as tx:
                tx.insert("runs", {
                    "id": f"run{place}", "project": project, "kind": "train", "state": state, "trigger": "manual",
                    "started_at": isoformat(NOW), "pid": owner.pid, "pid_started": owner.pid_started,
                    "boot_id": owner.boot_id, "fence": place,
                })  # fmt: skip
        yield opened


def ids(box: Box, text: str, **query: Any) -> set[str]:
    return {row.id for row in list_runs(box, Query(text=text, **query)).rows}


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("", {"run0", "run1", "run2", "run3"}),
        ("CHURN", {"run0", "run1"}),
        ("!churn", {"run2", "run3"}),
        ("~chn", {"run0", "run1"}),
        ("state:failed", {"run1", "run2"}),
        ("!state:fail churn", {"run0"}),
        ('"fraud 100%"', {"run2"}),
        ("%", {"run2"}),
        ("x_y", {"run3"}),
        ("_", {"run3"}),
        ("state:", {"run0", "run1", "run2", "run3"}),
        ("project:churn state:failed", {"run1"}),
        ("'; drop table runs; --", set()),
    ],
)
def test_a_filter_finds_what_it_says(box: Box, typed: str, found: set[str]) -> None:
    assert ids(box, typed) == found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.text())
def test_any_typed_filter_is_answered_or_refused_with_a_hint(box: Box, typed: str) -> None:
    try:
        page = list_runs(box, Query(text=typed))
    except UsageError as error:
        hint = error.hint
        assert hint is not None
        return
    assert page.total == 4
    assert len(page.rows) == page.matching


def test_an_unknown_field_is_refused_with_the_nearest(box: Box) -> None:
    with pytest.raises(UsageError, match="did you mean 'state'"):
        ids(box, "stat:failed")


def test_pages_count_what_matches_and_what_is_there(box: Box) -> None:
    page = list_runs(box, Query(text="state:failed", limit=1, offset=1))
    assert (len(page.rows), page.matching, page.total, page.offset) == (1, 2, 4, 1)


def test_problems_only_and_sorts(box: Box) -> None:
    assert ids(box, "", problems=True) == {"run1", "run2"}
    rows = list_runs(box, Query(sort="project", descending=True)).rows
    assert [row.project for row in rows] == ["x_y", "fraud 100%", "churn", "churn"]
    with pytest.raises(UsageError):
        list_runs(box, Query(sort="pid"))


def test_the_pulse_of_a_box_counts_its_last_day(box: Box) -> None:
    assert read_counts(box).failed_24h == 2
    pulse = read_pulse(box)
    assert pulse.runs_24h == {"completed": 1, "failed": 2, "running": 1}
    assert sum(pulse.runs_by_hour) == 4
    assert not pulse.counts.monitored


def test_a_run_that_does_not_exist_is_refused(box: Box) -> None:
    assert run_detail(box, "run3").owner_alive is True
    with pytest.raises(NotFoundError):
        run_detail(box, "nonsense")


@given(st.lists(st.integers(0, 50), min_size=4, max_size=12), st.integers(1, 20))
def test_bars_of_equal_width_keep_every_row(counts: list[int], bars: int) -> None:
    edges = [float(place) ** 1.5 for place in range(len(counts) - 1)]
    heights = equal_width(edges, counts, edges[0], edges[-1], bars)
    assert math.isclose(sum(heights), sum(counts), abs_tol=1e-6)
    assert all(height >= -1e-9 for height in heights)


METRICS = """# HELP mlops_box_requests_total Prediction requests.
mlops_box_requests_total{model="churn",version="3",outcome="ok"} 90.0
mlops_box_requests_total{model="churn",version="3",outcome="refused"} 10.0
mlops_box_requests_total{model="churn",version="2",outcome="ok"} 5.0
mlops_box_rows_total{model="churn",version="3"} 900.0
mlops_box_request_seconds_bucket{model="churn",version="3",le="0.001"} 50.0
mlops_box_request_seconds_bucket{model="churn",version="3",le="0.01"} 90.0
mlops_box_request_seconds_bucket{model="churn",version="3",le="+Inf"} 90.0
mlops_box_serving_version{model="churn"} 3.0
mlops_box_serving_version{model="fraud"} 1.0
mlops_box_queued_rows{model="churn"} 4.0
nonsense
"""


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = METRICS.encode() if self.path == "/metrics" else b"\n"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Answers) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield served
        served.shutdown()


def test_a_server_that_answers_is_up_with_its_traffic(tmp_path: Path, server: HTTPServer) -> None:
    home = Home(tmp_path)
    home.create()
    ServerAddress("127.0.0.1", server.server_port, this_process().pid).write(home.run)
    status = read_serving(home, timeout_s=5)
    assert status.state == "up"
    churn, before, fraud = status.models
    assert (churn.number, churn.current, churn.requests, churn.errors, churn.rows) == (
        3,
        True,
        100.0,
        10.0,
        900.0,
    )
    assert churn.queued_rows == 4
    assert churn.quantile_s(0.5) == pytest.approx(0.0009)
    assert (before.number, before.current) == (2, False)
    assert (fraud.requests, fraud.quantile_s(0.5)) == (0.0, None)


def test_a_server_that_was_not_started_died_or_is_elsewhere_is_told_apart(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    assert read_serving(home).detail == "not started"
    ServerAddress("127.0.0.1", 9, 2**22 + 1).write(home.run)
    assert read_serving(home).state == "down"
    ServerAddress("127.0.0.1", 9, this_process().pid).write(home.run)
    assert read_serving(home).state == "silent"
    ServerAddress("192.0.2.1", 80, this_process().pid).write(home.run)
    assert "loopback" in read_serving(home).detail


@given(st.text())
def test_any_metrics_page_is_read(page: str) -> None:
    assert isinstance(read_samples(page), list)


def served(requests: float, *, errors: float = 0.0, slow: float = 0.0) -> ServedModel:
    latency = ((0.001, requests - slow), (0.01, requests), (float("inf"), requests))
    return ServedModel("churn", 3, True, requests, requests, errors, 0.0, latency)


def test_two_looks_at_the_counters_tell_of_the_time_between_them() -> None:
    before, after = served(1000, errors=500, slow=900), served(1060, errors=503, slow=900)
    recent = after.since(before, 30.0)
    assert recent is not None
    assert (recent.per_minute, recent.error_share) == (120.0, 0.05)
    assert recent.quantile_s(0.99) == pytest.approx(0.00099)
    assert after.quantile_s(0.5) == pytest.approx(0.0047)
    quiet = after.since(after, 30.0)
    assert quiet is not None
    assert (quiet.per_minute, quiet.error_share, quiet.quantile_s(0.5)) == (0.0, None, None)


def test_a_counter_that_went_back_tells_nothing_of_the_time_between() -> None:
    assert served(5).since(served(1000), 30.0) is None
    assert served(1060, errors=1).since(served(1000, errors=500), 30.0) is None
    assert served(1060).since(served(1000), 0.0) is None
    assert served(1060).since(ServedModel("churn", 3, True, None, None, None, None), 30.0) is None
