"""Between answers and the device's log: a broken disk loses no answer that fits into memory, a death no old histogram."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from mlops_box.clock import FixedClock
from mlops_box.edge.device.log import PREDICTION, WINDOW, Entry, RingLog
from mlops_box.edge.device.server import recorder as module
from mlops_box.edge.device.server.contract import Contract
from mlops_box.edge.device.server.histogram import MAX_OPEN, Histograms
from mlops_box.edge.device.server.model import Served
from mlops_box.edge.device.server.recorder import Answered, Recorder
from mlops_box.errors import IntegrityError, StorageError
from mlops_box.models.encode import encode_rows
from mlops_box.models.values import Feature, Signature
from mlops_box.monitoring.counts import WindowCounts
from mlops_box.monitoring.reference_tables import build_reference
from mlops_box.serving.answers import Answers
from mlops_box.serving.door_rules import DoorRules
from mlops_box.serving.log_view import LogView
from mlops_box.serving.records import PredictionIds, Truth

SIGNATURE = Signature("regression", "y", (Feature("x", "numeric", "double"),))
SEGMENT = "0" * 22


class BrokenLog(RingLog):
    """A log whose disk can be broken."""

    broken = False

    def append(self, entries: Sequence[Entry], facts: dict[str, str] | None = None) -> None:
        if self.broken:
            raise OSError("no space left on device")
        super().append(entries, facts)


@pytest.fixture
def ring(tmp_path: Path) -> BrokenLog:
    return BrokenLog(tmp_path / "log.db", 10_000_000)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC))


def served() -> Served:
    contract = Contract(DoorRules({}, "at", frozenset(), 10), 1.0, (), 3600.0)
    reference = build_reference(pa.table({"x": np.arange(50.0)}), SIGNATURE, predictions=np.arange(50.0))
    found = SimpleNamespace(
        model="m", number=1, digest="d", signature=SIGNATURE, contract=contract, reference=reference,
        log_view=LogView(SIGNATURE, time_column="at"),
    )  # fmt: skip
    return cast(Served, found)


def answered(version: Served, recorder: Recorder, number: int, **row: Any) -> Answered:
    rows = [{"x": float(number), **row}]
    values: list[float | None] = [float(number)]
    at_us, mono_us = recorder.now_us()
    return Answered(
        version, rows, encode_rows(rows, SIGNATURE), Answers(values, values, None, None, "ok"),
        PredictionIds(SEGMENT, number, 1), at_us, mono_us, 0.5,
    )  # fmt: skip


def bodies(ring: RingLog, kind: str) -> list[dict[str, Any]]:
    return [json.loads(entry.body) for entry in ring.read(0, 1 << 40) if entry.kind == kind]


def test_answers_wait_for_a_broken_disk_and_only_what_is_too_much_is_given_up_and_counted(
    ring: BrokenLog, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_QUEUED", 30)
    recorder, version = Recorder(ring, "boot", Histograms(), clock), served()
    ring.broken = True
    for number in range(20):
        recorder.answered(answered(version, recorder, number))
    recorder.flush()
    assert recorder.problem is not None
    assert (recorder.unlogged, ring.backlog) == (0, 0)
    with pytest.raises(StorageError, match="no space left"):
        recorder.truths(version, [Truth("id", "1", 1.0)])
    for number in range(20, 40):
        recorder.answered(answered(version, recorder, number))
    recorder.flush()
    assert recorder.unlogged == 10
    ring.broken = False
    recorder.flush()
    assert recorder.problem is None
    assert [one["prediction"] for one in bodies(ring, PREDICTION)] == [
        float(number) for number in range(10, 40)
    ]


def test_a_process_that_dies_leaves_its_open_histograms_to_the_next(
    ring: BrokenLog, clock: FixedClock
) -> None:
    version = served()
    first = Recorder(ring, "boot-1", Histograms(), clock)
    for number in range(7):
        first.answered(answered(version, first, number))
    clock.advance(timedelta(seconds=11))
    first.flush()
    first.answered(answered(version, first, 7))
    first.flush()
    assert bodies(ring, WINDOW) == [], "its hour is not over"
    second = Recorder(ring, "boot-2", Histograms(), clock)
    second.start()
    second.stop()
    (window,) = bodies(ring, WINDOW)
    assert WindowCounts.from_dict(window["counts"]).rows == 7, "what was counted before the last checkpoint"
    third = Recorder(ring, "boot-3", Histograms(), clock)
    third.start()
    third.stop()
    assert len(bodies(ring, WINDOW)) == 1, "and once only"


def test_a_window_is_written_after_its_length_by_event_time_where_there_is_one(
    ring: BrokenLog, clock: FixedClock
) -> None:
    recorder, version = Recorder(ring, "boot", Histograms(), clock), served()
    recorder.answered(answered(version, recorder, 1, at="2026-01-01T10:30:00Z"))
    recorder.answered(answered(version, recorder, 2))
    recorder.flush()
    clock.advance(timedelta(minutes=59))
    recorder.flush()
    assert bodies(ring, WINDOW) == []
    clock.advance(timedelta(minutes=1))
    recorder.flush()
    found = {one["by"]: one for one in bodies(ring, WINDOW)}
    assert found["event"]["starts_at"] == "2026-01-01T10:00:00.000000Z"
    assert found["clock"]["starts_at"] == "2026-03-04T05:00:00.000000Z"
    assert found["clock"]["ends_at"] == "2026-03-04T06:00:00.000000Z"


def test_callers_who_send_any_event_time_do_not_fill_the_memory(ring: BrokenLog, clock: FixedClock) -> None:
    recorder, version = Recorder(ring, "boot", Histograms(), clock), served()
    for day in range(1, 29):
        for hour in (1, 5, 9):
            recorder.answered(answered(version, recorder, 1, at=f"2026-02-{day:02d}T{hour:02d}:00:00Z"))
    recorder.flush()
    assert len(bodies(ring, WINDOW)) == 28 * 3 - MAX_OPEN


def test_an_event_time_at_the_end_of_all_calendars_is_logged_and_counted_by_the_clock(
    ring: BrokenLog, clock: FixedClock
) -> None:
    recorder, version = Recorder(ring, "boot", Histograms(), clock), served()
    for time in ("9999-12-31T23:59:59Z", "0001-01-01", "9998-12-31T23:59:59Z"):
        recorder.answered(answered(version, recorder, 1, at=time))
    recorder.flush(last=True)
    assert [one["time"][:4] for one in bodies(ring, PREDICTION)] == ["9999", "0001", "9998"]
    windows = bodies(ring, WINDOW)
    assert {(one["by"], one["ends_at"][:4], one["counts"]["rows"]) for one in windows} == {
        ("clock", "2026", 2),
        ("event", "9999", 1),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{}", "cannot be read"), (b"x", "cannot be read"), (b'{"format": 9}', "format 9")],
)
def test_a_contract_of_another_format_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        Contract.from_bytes(content)
