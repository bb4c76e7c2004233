"""A row that is asked by hand reaches the running server, and stands in the tail of the version's requests."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from mlops_box_tui.app import BoxApp
from mlops_box_tui.screens.answer import AnswerScreen
from mlops_box_tui.screens.served import ServedScreen
from mlops_box_tui.screenshot import settle
from mlops_box_tui.settings import Settings
from serving_kit import register_fails, register_projects, register_rate, running

from mlops_box.box import Box
from mlops_box.operations.try_request import Tried, curl_line, example_row, try_request
from mlops_box.operations.views.requests import newest_requests
from mlops_box.serving.problems import ContractViolation

PATIENCE_S = 30.0


@pytest.fixture
def ready(box: Box) -> Box:
    register_projects(box)
    register_rate(box, 2.0, 1.0)
    register_fails(box)
    return box


def newest(box: Box, ref: str) -> tuple[Any, ...]:
    return newest_requests(box, ref, since=box.clock.now()).requests


def test_the_example_is_a_golden_row_that_is_whole(ready: Box) -> None:
    assert example_row(ready, ready.models.get("rates")) == {"a": 1.0, "b": 2.0}
    assert example_row(ready, ready.models.get("mill")) == {"heat": 10.0, "kind": "l"}


def test_the_server_answers_by_a_request_id_and_the_log_has_it_at_once(ready: Box) -> None:
    with running(ready.home.root, "--access-log") as server:
        tried = try_request(ready, "mill@1", {"heat": 10.0, "kind": "l"})
        assert tried.by == server.address.url
        assert tried.probabilities == (("false", 0.5), ("true", 0.5))
        (request,) = newest(ready, "mill@1")
        assert (request.id, request.variant) == (tried.prediction_id, "direct")
        assert dict(request.first[0].inputs) == {"heat": 10.0, "kind": "l"}
        log = ready.home.logs / "access.log"
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and not (log.exists() and log.read_text()):
            time.sleep(0.02)
        assert f'"request_id":"{tried.request_id}"' in log.read_text()
        with pytest.raises(ContractViolation) as refused:
            try_request(ready, "rates@1", {"a": -1.0, "b": 2.0})
        (problem,) = refused.value.details["problems"]
        assert (problem["row"], problem["column"], problem["rule"]) == (0, "a", "a.min")
        assert newest(ready, "rates") == ()


def test_the_curl_line_that_is_shown_asks_the_same(ready: Box) -> None:
    with running(ready.home.root):
        line = curl_line(ready.home, "rates@1", json.dumps({"a": 1, "b": 2}))
        assert line is not None
        answer = json.loads(
            subprocess.run(shlex.split(line), capture_output=True, check=True, timeout=60).stdout
        )
        assert answer["predictions"] == [4.0]


def test_without_a_server_this_process_answers_and_logs(ready: Box) -> None:
    tried = try_request(ready, "rates@1", {"a": 1.0, "b": 2.0})
    assert (tried.by, tried.request_id, tried.prediction) == (None, None, 4.0)
    assert [request.id for request in newest(ready, "rates@1")] == [tried.prediction_id]
    assert curl_line(ready.home, "rates@1", "{}") is None


async def test_from_the_terminal_to_the_server_and_back_into_the_tail(ready: Box) -> None:
    with running(ready.home.root) as server, Box.open(Path(ready.home.root), read_only=True) as looked:
        app = BoxApp(looked, settings=Settings(), start="serving")
        app.animation_level = "none"
        async with app.run_test(size=(120, 40)) as pilot:
            deadline = time.monotonic() + PATIENCE_S
            while app.serving is None and time.monotonic() < deadline:
                await settle(app, pilot)
            app.push_screen(ServedScreen("rates@1"))
            await settle(app, pilot)
            await pilot.press("I")
            await settle(app, pilot)
            await pilot.press("y")
            while not isinstance(app.screen, AnswerScreen) and time.monotonic() < deadline:
                await settle(app, pilot)
            assert isinstance(app.screen, AnswerScreen)
            tried = app.screen.outcome
            assert isinstance(tried, Tried)
            assert (tried.by, tried.prediction) == (server.address.url, 4.0)
            await pilot.press("escape", "right_square_bracket")
            await settle(app, pilot)
            screen = app.screen
            assert isinstance(screen, ServedScreen)
            while screen.requests.row is None and time.monotonic() < deadline:
                screen.poll()
                await settle(app, pilot)
            assert screen.requests.row is not None
            assert screen.requests.row.id == tried.prediction_id
        await app.workers.wait_for_complete()
