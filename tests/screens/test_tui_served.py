"""What a version that serves is asked and answers: its traffic, the tail of its requests, one asked by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import acted_box
import pytest
import seeded_box
from mlops_box_tui.acts.confirm import ActScreen
from mlops_box_tui.screens.answer import AnswerScreen
from mlops_box_tui.screens.logs import LogScreen
from mlops_box_tui.screens.request import RequestScreen
from mlops_box_tui.screens.rollout import RolloutScreen
from mlops_box_tui.screens.served import ServedScreen
from mlops_box_tui.screens.version import VersionScreen
from mlops_box_tui.traffic import Traffic
from textual.widgets import Input

from mlops_box.box import Box
from mlops_box.clock import FixedClock, to_us
from mlops_box.operations.try_request import Tried
from mlops_box.operations.views import ServedModel, ServingStatus
from mlops_box.operations.views.requests import newest_requests
from mlops_box.serving.prediction_log import PredictionLog
from mlops_box.serving.records import PredictionRecord, Truth, TruthRecord
from mlops_box.serving.segment_lines import record_line, truth_line

MODEL = "bike-rentals"
REF = f"{MODEL}@3"
HOSTILE = "[bold red]x[/] [@click=app.quit]z[/] \x1b]0;owned\x07\x1b[2J\u202e"
Put = Callable[..., str]


class Writer:
    """A process that answers and logs, by a clock of its own."""

    def __init__(self, home: Path):
        self.clock = FixedClock(seeded_box.NOW - timedelta(minutes=30))
        self.box = Box.open(home, clock=self.clock)
        self.log = PredictionLog(self.box.home.predictions, self.box.db, self.clock)

    def put(self, *, rows: int = 1, after: float = 0.0, **values: Any) -> str:
        """Log one answered request, ``after`` seconds later; returns its first id."""
        self.clock.advance(timedelta(seconds=after))
        told: dict[str, Any] = {
            "model": MODEL, "number": 3, "variant": "champion", "at_us": to_us(self.clock.now()),
            "rows": [{"temp": 0.5, "weathersit": "mist"}] * rows, "predictions": [41.5] * rows, "labels": None,
            "probabilities": None, "latency_ms": 2.5, **values,
        }  # fmt: skip
        first = []

        def build(take: Any) -> bytes:
            ids = take(rows)
            first.append(ids[0])
            return record_line(PredictionRecord(ids=ids, **told))

        self.log.write(build)
        return str(first[0])

    def tell(self, id_: str, text: str) -> None:
        record = TruthRecord(MODEL, to_us(self.clock.now()), [Truth(id_, text, None)])
        self.log.write(lambda _: truth_line(record))

    def close(self) -> None:
        self.log.close()
        self.box.close()


@pytest.fixture
def writer(home: Path) -> Any:
    opened = Writer(home)
    yield opened
    opened.close()


def up(requests: float, *, errors: float = 0.0, number: int = 3) -> ServingStatus:
    """What a server that has answered so much tells."""
    latency = ((0.001, requests / 2), (0.01, requests), (float("inf"), requests))
    served = ServedModel(MODEL, number, True, requests, requests, errors, 0.0, latency)
    return ServingStatus("up", "127.0.0.1", 8321, 4121, "/readyz says 200", (served,))


def hear(app: Any, status: ServingStatus, *, after: float = 0.0) -> None:
    """The server is heard, ``after`` seconds later."""
    app.box.clock.advance(timedelta(seconds=after))
    app._serving_at_s = app.box.clock.monotonic_s() + 1e6
    app._heard(status)


async def open_served(app: Any, driver: Any) -> ServedScreen:
    app.push_screen(ServedScreen(REF))
    await driver.settle()
    assert isinstance(app.screen, ServedScreen)
    return app.screen


async def test_enter_on_a_serving_row_opens_what_it_answers_and_esc_goes_back(
    open_app: Any, home: Path, writer: Writer
) -> None:
    async with open_app(home, start="serving") as (app, driver):
        hear(app, up(10))
        await driver.tick()
        await driver.press("enter")
        assert isinstance(app.screen, ServedScreen)
        assert "serving" in driver.shown()
        await driver.press("o")
        assert isinstance(app.screen, RolloutScreen)
        await driver.press("escape", "t")
        assert isinstance(app.screen, LogScreen)
        await driver.press("escape", "left_square_bracket", "enter")
        assert isinstance(app.screen, VersionScreen)
        await driver.press("escape", "escape")
        assert app.main.place.view == "serving"


async def test_numbers_of_the_list_are_of_the_last_minute_and_unknown_before_two_looks(
    open_app: Any, home: Path
) -> None:
    async with open_app(home, start="serving", size=(150, 36)) as (app, driver):
        hear(app, up(1000, errors=500))
        await driver.tick()
        line = next(line for line in driver.shown().splitlines() if "v3" in line and MODEL in line)
        assert line.split()[4:] == ["?", "1", "000", "?", "?", "?", "0"]
        assert "one so far" in driver.shown()
        hear(app, up(1030, errors=503), after=30)
        await driver.tick()
        shown = driver.shown()
        line = next(line for line in shown.splitlines() if "v3" in line and MODEL in line)
        assert "60.0" in line
        assert "10%" in line
        assert "req/min, p50, p99, errors over the last 30.0s" in shown, shown
        # Another server counts anew.
        hear(app, up(3), after=10)
        await driver.tick()
        assert "one so far" in driver.shown()


async def test_while_the_server_is_down_traffic_comes_from_the_log_and_says_so(
    open_app: Any, home: Path, writer: Writer
) -> None:
    for place in range(40):
        writer.put(after=30, latency_ms=1.0 + place / 10, outcome="not_finite" if place == 39 else "ok")
    async with open_app(home) as (app, driver):
        hear(app, ServingStatus("down", None, None, None, "not started"))
        screen = await open_served(app, driver)
        shown = driver.shown()
        for word in (
            "server down",
            "window 15 min",
            "this comes from the log alone",
            "errors: unknown",
            "requests a minute",
        ):
            assert word in shown, shown
        assert "requests      11 with 11 rows" in shown, shown
        await driver.press("w")
        assert "window 1 h" in driver.shown()
        assert "40 with 40 rows" in driver.shown()
        assert screen.detail is not None
        assert all(part.per_minute is not None for part in screen.detail.traffic.parts)


async def test_errors_come_from_the_counters_since_they_are_read(
    open_app: Any, home: Path, writer: Writer
) -> None:
    writer.put(after=60)
    async with open_app(home, size=(120, 80)) as (app, driver):
        hear(app, up(100, errors=5))
        await open_served(app, driver)
        assert "? (the server's counters were not read twice)" in driver.shown()
        for place in range(1, 8):
            hear(app, up(100 + 60 * place, errors=5 + 6 * place), after=30)
        await driver.tick()
        shown = driver.shown()
        assert "42 in the last 4 min, 10% of requests" in shown, shown
        assert "errors a minute" in shown
        assert "read here since 18:05:00" in shown


async def test_requests_are_followed_newest_first_held_and_filtered(
    open_app: Any, home: Path, writer: Writer
) -> None:
    first = writer.put(after=1)
    canary = writer.put(after=1, variant="canary", rows=3, predictions=[1.0, 2.0, 3.0])
    other = writer.put(after=1, number=2)
    writer.tell(first, "44.25")
    async with open_app(home, size=(150, 36)) as (app, driver):
        screen = await open_served(app, driver)
        await driver.press("right_square_bracket")
        keys = [row.key.value for row in screen.requests.table.ordered_rows]
        assert keys == [canary, first]
        shown = driver.shown()
        assert other not in shown
        for word in ("44.25", "canary", "2 of the newest 2", "following", "2.50ms"):
            assert word in shown, shown
        newest = writer.put(after=1)
        await driver.tick()
        assert screen.requests.row is not None
        assert screen.requests.row.id == newest
        await driver.press("f")
        writer.put(after=1)
        await driver.tick()
        assert "held, 1 newer" in driver.shown()
        await driver.press("f")
        assert "4 of the newest 4" in driver.shown()
        await driver.press("slash")
        await driver.type("variant:canary")
        await driver.press("enter")
        assert "1 of the newest 4" in driver.shown(), driver.shown()
        await driver.press("slash")
        await driver.type("x colour:red")
        await driver.press("enter")
        assert "there is no field 'colour'" in driver.shown()
        await driver.press("escape")
        assert isinstance(app.screen, ServedScreen)
        assert "4 of the newest 4" in driver.shown()
        await driver.press("escape")
        assert not isinstance(app.screen, ServedScreen)


async def test_enter_on_a_request_shows_its_record_and_the_truth_when_it_comes(
    open_app: Any, home: Path, writer: Writer
) -> None:
    id_ = writer.put(after=1, variant="shadow", copy_of="01other-00000007")
    async with open_app(home) as (app, driver):
        await open_served(app, driver)
        await driver.press("right_square_bracket", "enter")
        assert isinstance(app.screen, RequestScreen)
        shown = driver.shown()
        for word in (id_, "mist", "41.5", "not known yet", "01other-00000007", "as shadow"):
            assert word in shown, shown
        writer.tell(id_, "40.75")
        app.screen.poll(force=True)
        await driver.settle()
        assert "40.75" in driver.shown()


async def test_hostile_inputs_and_answers_are_inert(open_app: Any, home: Path, writer: Writer) -> None:
    id_ = writer.put(after=1, rows=1, labels=[HOSTILE], predictions=None)
    writer.put(after=1, **{"rows": 1} | {})
    writer.tell(id_, HOSTILE)

    def record(take: Any) -> bytes:
        ids = take(1)
        return record_line(
            PredictionRecord(MODEL, 3, HOSTILE, to_us(writer.clock.now()), ids, [{HOSTILE: HOSTILE}], [1.0], [HOSTILE],
                             None, 1.0)
        )  # fmt: skip

    writer.log.write(record)
    async with open_app(home, size=(150, 40)) as (app, driver):
        await open_served(app, driver)
        await driver.press("right_square_bracket")
        seen = driver.shown()
        await driver.press("enter")
        seen += driver.shown()
        assert "[bold red]x[/]" in seen
        for character in "\x1b\x07\u202e":
            assert character not in seen
        assert app.is_running


@pytest.mark.parametrize("options", [{"ascii_only": True}, {"theme": "light"}])
async def test_it_fits_a_small_terminal(open_app: Any, home: Path, writer: Writer, options: Any) -> None:
    for _ in range(5):
        writer.put(after=60)
    async with open_app(home, size=(80, 24), **options) as (app, driver):
        hear(app, up(5))
        await open_served(app, driver)
        for _ in range(4):
            shown = driver.shown()
            assert not options.get("ascii_only") or shown.isascii(), [c for c in shown if not c.isascii()]
            await driver.press("right_square_bracket")


async def test_a_version_that_the_box_does_not_know_is_said(open_app: Any, home: Path) -> None:
    async with open_app(home) as (app, driver):
        app.push_screen(ServedScreen(f"{MODEL}@77"))
        await driver.settle()
        assert "77" in driver.shown()
        await driver.press("f", "w", "o", "escape")
        assert app.is_running


async def test_asking_by_hand_is_refused_where_nothing_may_act(open_app: Any, home: Path) -> None:
    async with open_app(home, read_only=True) as (app, driver):
        await open_served(app, driver)
        await driver.press("I")
        assert not isinstance(app.screen, ActScreen)
        assert any("--readonly" in note.message for note in app._notifications)


async def test_a_row_asked_by_hand_is_answered_whole_and_stands_in_the_tail(
    open_app: Any, acted_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = acted_box.copy(acted_home, tmp_path / "asked")
    monkeypatch.setenv("MLOPS_BOX_HOME", str(home))
    async with open_app(home) as (app, driver):
        app.push_screen(ServedScreen("houses@1"))
        await driver.settle()
        await driver.press("I")
        shown = driver.shown()
        for word in (
            "asks houses@1 one row",
            "no server answers",
            "reads ",
            "$ mlops-box predict houses@1 --row",
            "y yes",
        ):
            assert word in shown, shown
        await driver.press("y")
        assert isinstance(app.screen, AnswerScreen)
        assert isinstance(app.screen.outcome, Tried)
        shown = driver.shown()
        id_ = app.screen.outcome.prediction_id
        for word in (id_, "answered by", "houses@1", "this program: no server answers", "the same again"):
            assert word in shown, shown
        await driver.press("escape", "right_square_bracket")
        assert isinstance(app.screen, ServedScreen)
        assert app.screen.requests.row is not None
        assert app.screen.requests.row.id == id_
        assert app.performer.journal.entries[0].line.startswith("mlops-box predict houses@1 --row")


async def test_a_row_that_breaks_the_contract_is_told_with_its_rule_and_logs_nothing(
    open_app: Any, acted_home: Path, tmp_path: Path
) -> None:
    home = acted_box.copy(acted_home, tmp_path / "asked")
    async with open_app(home) as (app, driver):
        app.push_screen(VersionScreen("houses@1"))
        await driver.settle()
        for row, told in (
            ('{"nonsense": "[bold]x[/]\\u001b"}', ("no answer", "unknown_column", "nonsense")),
            ('{"area": ', ("no answer", "the row is no JSON")),
        ):
            await driver.press("I")
            assert isinstance(app.screen, ActScreen)
            app.screen.query_one("#field-row", Input).value = row
            await driver.press("y")
            assert isinstance(app.screen, AnswerScreen)
            shown = driver.shown()
            for word in told:
                assert word in shown, shown
            assert "\x1b" not in shown
            await driver.press("escape")
        with Box.open(home, read_only=True) as box:
            assert newest_requests(box, "houses", since=box.clock.now()).requests == ()


def test_readings_are_thinned_and_the_first_is_kept_until_the_ring_is_full() -> None:
    traffic, start = Traffic.begun(seeded_box.NOW, up(0).models[0]), seeded_box.NOW
    for second in range(2, 602, 2):
        traffic = traffic.next(start + timedelta(seconds=second), up(second).models[0])
    assert len(traffic.readings) < 80
    assert traffic.since == start
    recent = traffic.recent()
    assert recent is not None
    assert (recent.per_minute, 60 <= recent.seconds <= 70) == (60.0, True)
    inside = traffic.between(start + timedelta(seconds=100), start + timedelta(seconds=200))
    assert inside is not None
    assert inside.per_minute == 60.0
    assert traffic.between(start - timedelta(minutes=2), start) is None
    gap = traffic.next(start + timedelta(minutes=30), up(700).models[0])
    assert gap.between(start + timedelta(minutes=15), start + timedelta(minutes=16)) is None
    assert len(traffic.next(start + timedelta(minutes=11), up(1).models[0]).readings) == 1
