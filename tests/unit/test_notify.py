"""People are told once, in digests, within limits; what cannot be sent waits."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from mlops_box.box import Box
from mlops_box.clock import FixedClock
from mlops_box.errors import ProjectError, UsageError
from mlops_box.monitoring.alerts import Alert
from mlops_box.operations.follow import alert_changes
from mlops_box.operations.notify import notify, send_test
from mlops_box.project import load_project, parse_project

TOML = """
[project]
name = "rentals"
[data]
source = "rates.csv"
[data.contract]
a = {{ type = "double" }}
[model]
name = "bikes"
task = "regression"
target = "b"
features = ["a"]
[notify]
{notify}
"""


class Post:
    """Takes what is sent, or refuses it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str]] = []
        self.problem: str | None = None

    def __call__(self, url: str, title: str, body: str) -> str | None:
        if self.problem is None:
            self.sent.append((url, title, body))
        return self.problem


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    with Box.open(tmp_path / "home", clock=clock, actor="tester") as opened:
        yield opened


def declare(box: Box, folder: Path, text: str = 'targets = ["json://localhost:1"]') -> None:
    folder.mkdir(exist_ok=True)
    (folder / "mlops.toml").write_text(TOML.format(notify=text))
    box.projects.register(load_project(folder))


def sound(box: Box, kind: Any = "drift", **changes: Any) -> Alert:
    options: dict[str, Any] = {
        "project": "rentals", "model": "bikes", "number": 1, "kind": kind, "severity": "warning",
        "title": f"{kind} in temp", "finding": {"window": {"starts_at": "w1"}},
    }  # fmt: skip
    return box.alerts.raise_or_update(**(options | changes)).alert


def advance(box: Box, **by: float) -> None:
    assert isinstance(box.clock, FixedClock)
    box.clock.advance(timedelta(**by))


def test_an_alert_is_told_once(box: Box, tmp_path: Path) -> None:
    declare(box, tmp_path / "p")
    post = Post()
    alert = sound(box)
    (outcome,) = notify(box, send=post)
    assert (outcome.sent, outcome.queued, outcome.error) == (1, 0, None)
    advance(box, hours=1)
    notify(box, send=post)
    ((url, title, body),) = post.sent
    assert url == "json://localhost:1"
    assert title == "mlops-box rentals"
    assert body == f"warning: drift in temp (mlops-box why {alert.id})"


def test_what_happened_before_the_target_was_declared_is_not_told(box: Box, tmp_path: Path) -> None:
    sound(box)
    declare(box, tmp_path / "p", 'targets = ["json://localhost:1"]\nremind = "90d"')
    post = Post()
    assert notify(box, send=post)[0].sent == 0
    sound(box, "quality")
    assert notify(box, send=post)[0].sent == 1


def test_a_digest_gathers_what_comes_meanwhile_the_worst_first(box: Box, tmp_path: Path) -> None:
    declare(box, tmp_path / "p")
    post = Post()
    sound(box)
    notify(box, send=post)
    advance(box, minutes=5)
    sound(box, "data")
    sound(box, "quality", severity="error")
    assert notify(box, send=post)[0].queued == 2
    advance(box, minutes=10)
    assert notify(box, send=post)[0].sent == 2
    title, body = post.sent[-1][1:]
    assert title == "mlops-box rentals: 2 notices"
    assert [line.split(":")[0] for line in body.splitlines()] == ["error", "warning"]


def test_no_more_messages_than_the_limit(box: Box, tmp_path: Path) -> None:
    declare(
        box,
        tmp_path / "p",
        'targets = ["json://localhost:1"]\ndigest = "0s"\nlimit = "2/day"\nremind = "90d"',
    )
    post = Post()
    for kind in ("drift", "quality", "data", "pipeline"):
        sound(box, kind)
        notify(box, send=post)
        advance(box, hours=1)
    assert len(post.sent) == 2
    advance(box, hours=21)
    notify(box, send=post)
    assert len(post.sent) == 3
    assert post.sent[-1][2].count("\n") == 1, "both that waited, in one message"


def test_a_target_that_is_away_gets_it_later(box: Box, tmp_path: Path) -> None:
    declare(box, tmp_path / "p")
    post = Post()
    post.problem = "the target did not take it"
    sound(box)
    for _ in range(3):
        (outcome,) = notify(box, send=post)
        assert (outcome.sent, outcome.queued, outcome.error) == (0, 1, "the target did not take it")
        advance(box, hours=1)
    post.problem = None
    assert notify(box, send=post)[0].sent == 1
    assert len(post.sent) == 1


def test_after_a_week_nobody_wants_it_any_more_and_the_ledger_says_so(box: Box, tmp_path: Path) -> None:
    declare(box, tmp_path / "p", 'targets = ["json://localhost:1"]\nremind = "90d"')
    post = Post()
    post.problem = "away"
    sound(box)
    notify(box, send=post)
    advance(box, days=8)
    post.problem = None
    (outcome,) = notify(box, send=post)
    assert (outcome.sent, outcome.dropped) == (0, 1)
    assert post.sent == []
    assert "notify.dropped" in [entry.act for entry in box.ledger.entries()]


def test_the_mild_is_not_told_and_a_resolved_alert_is_where_asked_for(box: Box, tmp_path: Path) -> None:
    declare(box, tmp_path / "p", 'targets = ["json://localhost:1"]\nleast = "error"\ndigest = "0s"')
    post = Post()
    sound(box)
    notify(box, send=post)
    assert post.sent == []
    declare(box, tmp_path / "p", 'targets = ["json://localhost:1"]\nleast = "info"\ndigest = "0s"')
    alert = sound(box, "quality")
    notify(box, send=post)
    box.alerts.resolve(alert.id, reason="fine again")
    advance(box, minutes=1)
    notify(box, send=post)
    assert "resolved: quality in temp" in post.sent[-1][2]


def test_an_open_alert_is_brought_up_again_an_acknowledged_or_snoozed_one_is_not(
    box: Box, tmp_path: Path
) -> None:
    declare(box, tmp_path / "p", 'targets = ["json://localhost:1"]\ndigest = "0s"')
    post = Post()
    first, second, third = sound(box), sound(box, "quality"), sound(box, "data")
    notify(box, send=post)
    box.alerts.acknowledge(second.id, "known")
    box.alerts.snooze(third.id, box.clock.now() + timedelta(days=3), "the vendor comes")
    advance(box, days=1, minutes=1)
    notify(box, send=post)
    assert post.sent[-1][2] == f"warning: still open: drift in temp (mlops-box why {first.id})"
    advance(box, days=2)
    assert [alert.id for alert in box.alerts.wake()] == [third.id]
    notify(box, send=post)
    assert "open again: data in temp" in post.sent[-1][2]


def test_a_suggestion_is_told_with_the_command_that_accepts_it(box: Box, tmp_path: Path) -> None:
    from mlops_box.monitoring.policy import DecisionDraft, Trigger

    declare(box, tmp_path / "p")
    trigger = Trigger("drift", "bikes", "rentals", "1:w", "drift in temp")
    decision = box.decisions.record(
        DecisionDraft(trigger, "suggest", "suggested", "drift in temp", {"otherwise": ""})
    )
    post = Post()
    notify(box, send=post)
    assert f"mlops-box decisions accept {decision.id}" in post.sent[0][2]


def test_a_secret_comes_from_the_environment_and_its_absence_is_named(box: Box, tmp_path: Path) -> None:
    declare(box, tmp_path / "p", 'targets = ["env:OPS_URL"]')
    post = Post()
    sound(box)
    (outcome,) = notify(box, send=post, environ={})
    assert outcome.error == "the environment variable OPS_URL is not set"
    assert notify(box, send=post, environ={"OPS_URL": "json://localhost:2"})[0].sent == 1
    assert post.sent[0][0] == "json://localhost:2"


def test_a_target_that_is_none_is_refused_without_repeating_it() -> None:
    with pytest.raises(ProjectError) as error:
        parse_project(TOML.format(notify='targets = ["hunter2"]'))
    assert "hunter2" not in f"{error.value} {error.value.to_dict()}"


def test_a_message_really_arrives(box: Box, tmp_path: Path) -> None:
    received: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        declare(box, tmp_path / "p", f'targets = ["json://127.0.0.1:{server.server_port}"]')
        sound(box)
        assert notify(box)[0].sent == 1
        assert send_test(box.projects.get("rentals"))[0].error is None
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [item["title"] for item in received] == ["mlops-box rentals", "mlops-box: test from rentals"]
    (outcome,) = send_test(box.projects.get("rentals"))
    assert outcome.error == "the target did not take it"


def test_a_test_without_targets_says_what_to_write(box: Box, tmp_path: Path) -> None:
    declare(box, tmp_path / "p", "targets = []")
    assert notify(box) == []
    with pytest.raises(UsageError, match="declares no target"):
        send_test(box.projects.get("rentals"))


def test_following_tells_every_change_in_order(box: Box) -> None:
    alert = sound(box)
    box.alerts.acknowledge(alert.id, "known")
    events = list(islice(alert_changes(box, since=0, wait=lambda _: None), 2))
    assert [event.change for event in events] == ["opened", "acknowledged"]
    assert "(known)" in events[1].line()

    def write(_: float) -> None:
        with Box.open(box.home, clock=box.clock, actor="other") as other:
            other.alerts.unacknowledge(alert.id)

    (event,) = islice(alert_changes(box, wait=write), 1)
    assert (event.change, event.entry.actor) == ("unacknowledged", "other")


def test_a_snooze_needs_a_reason_and_a_future(box: Box) -> None:
    alert = sound(box)
    with pytest.raises(UsageError, match="note"):
        box.alerts.snooze(alert.id, box.clock.now() + timedelta(days=1), " ")
    with pytest.raises(UsageError, match="has passed"):
        box.alerts.snooze(alert.id, box.clock.now(), "x")
    snoozed = box.alerts.snooze(alert.id, box.clock.now() + timedelta(days=1), "x")
    assert snoozed.is_snoozed(box.clock.now())
    assert box.alerts.unacknowledge(alert.id).snoozed_until is None
    box.alerts.resolve(alert.id, reason="fine")
    with pytest.raises(UsageError, match="resolved already"):
        box.alerts.unacknowledge(alert.id)
