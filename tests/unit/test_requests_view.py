"""The newest requests of a model, read from the end of its prediction log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_box.box import Box
from mlops_box.cli.main import main
from mlops_box.clock import FixedClock, to_us
from mlops_box.errors import NotFoundError, UsageError
from mlops_box.models.values import Feature, Signature, VersionDraft
from mlops_box.operations.views.requests import logged_traffic, matching, newest_requests, request_facts
from mlops_box.project import LoadedProject, parse_project
from mlops_box.serving import log_tail
from mlops_box.serving.columns import Columns
from mlops_box.serving.log_tail import LogTail
from mlops_box.serving.prediction_log import PredictionLog
from mlops_box.serving.records import PredictionRecord, Truth, TruthRecord
from mlops_box.serving.segment_lines import record_line, truth_line

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MODEL = "mill.v-2_b"
SIGNATURE = Signature(
    "binary", "fails", (Feature("heat", "numeric", "double"), Feature("age", "numeric", "double")), (False, True),
)  # fmt: skip
PROJECT = f"""
[project]
name = "{MODEL}"
[data]
source = "mill.csv"
[data.contract]
heat = {{ type = "double" }}
age = {{ type = "double" }}
[model]
task = "binary"
target = "fails"
features = ["heat", "age"]
"""


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(START)


@pytest.fixture
def box(tmp_path: Path, clock: FixedClock) -> Iterator[Box]:
    with Box.open(tmp_path / "home", clock=clock, actor="test") as opened:
        for _ in range(2):
            opened.models.register(
                VersionDraft(MODEL, MODEL, "binary", True, SIGNATURE, {}, {}, (), "s", None)
            )
        yield opened


@pytest.fixture
def log(box: Box) -> Iterator[PredictionLog]:
    opened = open_log(box)
    yield opened
    opened.close()


def open_log(box: Box) -> PredictionLog:
    return PredictionLog(box.home.predictions, box.db, box.clock)


def put(log: PredictionLog, box: Box, rows: Any, **values: Any) -> list[str]:
    """Log one answered request; returns its prediction ids."""
    written: list[str] = []

    def build(take: Any) -> bytes:
        ids = take(len(rows))
        written.extend(ids)
        told = {
            "model": MODEL, "number": 1, "variant": "champion", "at_us": to_us(box.clock.now()), "ids": ids, "rows": rows,
            "predictions": [0.75] * len(rows), "labels": ["true"] * len(rows),
            "probabilities": [[0.25, 0.75]] * len(rows), "latency_ms": 1.5, **values,
        }  # fmt: skip
        return record_line(PredictionRecord(**told))

    log.write(build)
    return written


def tell(log: PredictionLog, box: Box, id_: str, text: str) -> None:
    log.write(lambda _: truth_line(TruthRecord(MODEL, to_us(box.clock.now()), [Truth(id_, text, None)])))


def read(box: Box, ref: str = MODEL, *, before: LogTail | None = None, limit: int = 200) -> LogTail:
    return newest_requests(box, ref, since=box.clock.now() - timedelta(hours=1), limit=limit, before=before)


def ids(tail: LogTail) -> list[str]:
    return [request.id for request in tail.requests]


def test_the_newest_request_comes_first_with_all_that_the_log_holds(
    box: Box, clock: FixedClock, log: PredictionLog
) -> None:
    (first,) = put(log, box, [{"heat": 1.0, "note": "as it came"}], latency_ms=2.5)
    clock.advance(timedelta(seconds=1))
    second, _ = put(log, box, [{"heat": 2.0}, {"heat": 3.0}], variant="canary", outcome="not_finite")
    tail = read(box)
    assert ids(tail) == [second, first]
    newest, older = tail.requests
    assert (newest.variant, newest.rows, newest.outcome) == ("canary", 2, "not_finite")
    assert (older.latency_ms, older.at, older.first[0].answer) == (2.5, START, "true")
    assert dict(older.first[0].inputs) == {"heat": 1.0, "note": "as it came"}
    assert older.first[0].probability == (0.25, 0.75)
    assert older.first[0].truth is None


def test_sealed_and_open_segments_are_one_list(box: Box, clock: FixedClock) -> None:
    earlier = open_log(box)
    sealed = put(earlier, box, [{"heat": 1.0}, {"heat": 2.0}], variant="shadow")
    other = put(earlier, box, [{"heat": 3.0}], latency_ms=9.0)
    earlier.close()
    box.predictions.seal()
    clock.advance(timedelta(minutes=1))
    later = open_log(box)
    open_ones = put(later, box, [{"heat": 4.0}])
    tail = read(box)
    assert ids(tail) == [open_ones[0], other[0], sealed[0]]
    assert [(one.rows, one.variant, one.sealed) for one in tail.requests] == [
        (1, "champion", False), (1, "champion", True), (2, "shadow", True),
    ]  # fmt: skip
    assert dict(tail.requests[2].first[1].inputs) == {"heat": 2.0, "age": None}
    assert len(tail.counted) == 3
    later.close()


def test_only_the_version_that_is_asked_for(box: Box, log: PredictionLog) -> None:
    put(log, box, [{"heat": 1.0}])
    wanted = put(log, box, [{"heat": 2.0}], number=2)
    put(log, box, [{"heat": 3.0}], model="other")
    assert ids(read(box, f"{MODEL}@2")) == wanted
    assert len(read(box).requests) == 2


def test_a_torn_last_line_is_not_read_and_comes_when_it_is_whole(box: Box, log: PredictionLog) -> None:
    whole = put(log, box, [{"heat": 1.0}])
    path = box.home.predictions / f"{log.segment_id}.log"
    size = path.stat().st_size
    torn = put(log, box, [{"heat": 2.0}])
    line = path.read_bytes()[size:]
    path.write_bytes(path.read_bytes()[: size + 20])
    tail = read(box)
    assert ids(tail) == whole
    with path.open("ab") as file:
        file.write(line[20:])
    assert ids(read(box, before=tail)) == [*torn, *whole]


def test_redacted_columns_are_not_shown_whenever_they_were_logged(box: Box, log: PredictionLog) -> None:
    put(log, box, [{"heat": 1.0, "age": 41.0}])
    put(log, box, Columns(1, {}, np.array([[2.0, 42.0]], dtype=np.float32)))
    log.close()
    box.predictions.seal()
    again = open_log(box)
    put(again, box, Columns(1, {}, np.array([[3.0, 43.0]], dtype=np.float32)))
    assert {row.inputs["age"] for one in read(box).requests for row in one.first} == {41.0, 42.0, 43.0}
    declared = parse_project(PROJECT + '[serve]\nredact = ["age"]\n')
    box.projects.register(LoadedProject(box.home.root, declared))
    shown = [dict(row.inputs) for one in read(box).requests for row in one.first]
    assert [set(inputs) for inputs in shown] == [{"heat"}] * 3
    again.close()


def test_rows_that_were_not_logged_are_told_from_empty_ones(box: Box, log: PredictionLog) -> None:
    put(log, box, [{}], sampled=False)
    assert [one.sampled for one in read(box).requests] == [False]


def test_truth_finds_its_request_and_the_later_one_counts(
    box: Box, clock: FixedClock, log: PredictionLog
) -> None:
    (id_,) = put(log, box, [{"heat": 1.0}])
    tail = read(box)
    clock.advance(timedelta(minutes=1))
    tell(log, box, id_, "false")
    told = read(box, before=tail)
    assert told.requests[0].first[0].truth == "false"
    log.close()
    box.predictions.seal()
    sealed = read(box, before=told)
    assert sealed.requests[0].first[0].truth == "false"
    correcting = open_log(box)
    clock.advance(timedelta(minutes=1))
    tell(correcting, box, id_, "true")
    assert read(box, before=sealed).requests[0].first[0].truth == "true"
    correcting.close()


def test_following_reads_what_one_reading_would(box: Box, clock: FixedClock, log: PredictionLog) -> None:
    tail = read(box, limit=5)
    for place in range(12):
        put(log, box, [{"heat": float(place)}])
        clock.advance(timedelta(minutes=7))
        tail = read(box, before=tail, limit=5)
    fresh = read(box, limit=5)
    assert ids(tail) == ids(fresh)
    assert tail.counted.at_us.tolist() == fresh.counted.at_us.tolist()
    assert len(tail.counted) == 8
    assert tail.known_since == box.clock.now() - timedelta(hours=1)


def test_no_more_than_the_bound_is_read_and_what_is_older_is_unknown(
    box: Box, clock: FixedClock, log: PredictionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    for _ in range(40):
        written += put(log, box, [{"heat": 1.0}])
        clock.advance(timedelta(minutes=1))
    question = log_tail.TailQuestion(MODEL, None, clock.now() - timedelta(hours=1), max_bytes=2000)
    tail = log_tail.TailReader(box.home.predictions, box.db, box.objects, clock).read(question)
    count = len(tail.requests)
    assert 0 < count < 20
    assert ids(tail) == written[: -count - 1 : -1]
    assert tail.known_since == tail.requests[-1].at
    traffic = logged_traffic(tail, now=clock.now(), window=timedelta(hours=1))
    assert traffic.since == tail.known_since
    assert traffic.parts[0].per_minute is None
    assert traffic.parts[-1].per_minute is not None


def test_a_window_is_counted_and_timed(box: Box, clock: FixedClock, log: PredictionLog) -> None:
    for latency in (1.0, 2.0, 3.0):
        put(log, box, [{"heat": 1.0}] * 2, latency_ms=latency)
    put(log, box, [{"heat": 1.0}], latency_ms=4.0, outcome="not_finite")
    clock.advance(timedelta(minutes=2))
    traffic = logged_traffic(read(box), now=clock.now(), window=timedelta(minutes=15))
    assert (traffic.requests, traffic.rows, traffic.not_finite, traffic.p50_ms) == (4, 7, 1, 2.5)
    busy = [part for part in traffic.parts if part.per_minute]
    assert [(part.per_minute, part.p50_ms) for part in busy] == [(8.0, 2.5)]
    assert all(part.per_minute is not None for part in traffic.parts)
    assert next(part for part in traffic.parts if not part.per_minute).p50_ms is None


def test_a_filter_looks_at_answers_inputs_and_truth(box: Box, log: PredictionLog) -> None:
    cold = put(log, box, [{"heat": 1.0, "note": "[red]cold"}])
    put(log, box, [{"heat": 2.0, "note": "hot"}], variant="canary")
    tell(log, box, cold[0], "false")
    found = read(box).requests
    assert [one.id for one in matching(box, found, "[red]")] == cold
    assert [one.id for one in matching(box, found, "truth:false")] == cold
    assert [one.id for one in matching(box, found, "!variant:canary")] == cold
    assert len(matching(box, found, "")) == 2
    with pytest.raises(UsageError, match="no field"):
        matching(box, found, "colour:red")


def test_an_empty_log_and_a_model_that_is_none(box: Box) -> None:
    tail = read(box)
    assert (tail.requests, len(tail.counted)) == ((), 0)
    assert tail.known_since == box.clock.now() - timedelta(hours=1)
    with pytest.raises(NotFoundError):
        read(box, "nobody")
    with pytest.raises(NotFoundError):
        read(box, f"{MODEL}@9")
    for odd in ("../x", "A b", "[red]x[/]", "x@y@z", ""):
        with pytest.raises(UsageError):
            read(box, odd)


def test_what_a_device_answered_is_no_traffic_of_the_box(box: Box, log: PredictionLog) -> None:
    put(log, box, [{"heat": 1.0}])
    record = PredictionRecord(MODEL, 1, "champion", to_us(START), ["0" * 22 + "-00000000"], [{"heat": 2.0}], [0.5],
                              ["true"], [[0.5, 0.5]], 1.0)  # fmt: skip
    segment = box.predictions.prepare([record], note="a device")
    with box.db.write() as tx:
        box.predictions.add(tx, segment)
    assert len(read(box).requests) == 1


def test_the_command_prints_them_for_people_and_programs(
    box: Box, log: PredictionLog, capsys: pytest.CaptureFixture[str]
) -> None:
    (id_,) = put(log, box, [{"heat": 1.0, "note": "\x1b[31m"}], labels=["\x1b]0;owned\x07"])
    home = ["--home", str(box.home.root)]
    for arguments in ([MODEL], [f"{MODEL}@1", "--limit", "1"], [MODEL, "--filter", "heat"]):
        with pytest.raises(SystemExit) as left:
            main(["requests", *arguments, *home])
        assert left.value.code == 0
        shown = capsys.readouterr().out
        assert id_ in shown
        assert "\x1b]" not in shown
    with pytest.raises(SystemExit):
        main(["requests", MODEL, "--json", *home])
    assert json.loads(capsys.readouterr().out) == [request_facts(read(box).requests[0])]
    with pytest.raises(SystemExit) as refused:
        main(["requests", MODEL, "--since", "soon", *home])
    assert refused.value.code == 2
