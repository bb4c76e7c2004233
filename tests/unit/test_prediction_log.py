"""The prediction log: what is answered is kept, what was cut short is dropped, sealing happens once."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlops_box.box import Box
from mlops_box.clock import FixedClock
from mlops_box.errors import StorageError
from mlops_box.models.values import Feature, Signature, VersionDraft
from mlops_box.serving import prediction_log
from mlops_box.serving.prediction_log import PredictionLog, RotationPolicy
from mlops_box.serving.records import (
    PredictionRecord,
    Truth,
    TruthRecord,
    is_prediction_id,
    segment_of,
)
from mlops_box.serving.segment_lines import SegmentReport, read_segment, record_line, truth_line

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SIGNATURE = Signature(
    "binary",
    "fails",
    (Feature("heat", "numeric", "double"), Feature("kind", "categorical", "bigint", ("3",))),
    (False, True),
)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(START)


@pytest.fixture
def box(tmp_path: Path, clock: FixedClock) -> Iterator[Box]:
    with Box.open(tmp_path / "home", clock=clock, actor="test") as opened:
        draft = VersionDraft("mill", "mill", "binary", True, SIGNATURE, {}, {}, (), "s", None)
        opened.models.register(draft)
        yield opened


def open_log(box: Box, **options: Any) -> PredictionLog:
    return PredictionLog(box.home.predictions, box.db, box.clock, **options)


def predict(log: PredictionLog, clock: FixedClock, rows: list[dict[str, Any]]) -> list[str]:
    written: list[str] = []

    def build(take: Any) -> bytes:
        ids = take(len(rows))
        written.extend(ids)
        at_us = int(clock.now().timestamp() * 1e6)
        record = PredictionRecord(
            model="mill", number=1, variant="champion", at_us=at_us, ids=ids, rows=rows,
            predictions=[0.75] * len(rows), labels=["true"] * len(rows), probabilities=[[0.25, 0.75]] * len(rows),
            latency_ms=1.5, time_column="seen",
        )  # fmt: skip
        return record_line(record)

    log.write(build)
    return written


def segment_path(box: Box, log: PredictionLog) -> Path:
    return box.home.predictions / f"{log.segment_id}.log"


def test_ids_are_unique_sort_by_time_and_name_their_segment(box: Box, clock: FixedClock) -> None:
    log = open_log(box)
    ids = [id_ for _ in range(50) for id_ in predict(log, clock, [{"heat": 1.0}] * 3)]
    assert len(set(ids)) == 150
    assert ids == sorted(ids)
    assert all(is_prediction_id(id_) and segment_of(id_) == log.segment_id for id_ in ids)


def test_a_sealed_segment_reads_back_typed_by_the_signature(box: Box, clock: FixedClock) -> None:
    log = open_log(box)
    rows = [{"heat": 2, "kind": 3.0, "seen": "2026-01-01T00:00:00Z", "shift": "n"}, {"heat": None, "kind": 3}]
    ids = predict(log, clock, rows)
    log.close()
    (sealed,) = box.predictions.seal()
    assert sealed.rows == 2
    table = box.predictions.predictions("mill")
    assert table["id"].to_pylist() == ids
    assert table["event_time"].to_pylist() == [datetime(2026, 1, 1, tzinfo=UTC), START]
    assert table["feature:heat"].to_pylist() == [2.0, None]
    assert table["feature:kind"].to_pylist() == ["3", "3"]
    assert table["label"].to_pylist() == ["true", "true"]
    assert table["probability"].to_pylist() == [[0.25, 0.75]] * 2
    assert "feature:shift" not in table.column_names


def test_predictions_are_found_by_version_and_event_time(box: Box, clock: FixedClock) -> None:
    log = open_log(box)
    for _ in range(3):
        predict(log, clock, [{"heat": 1.0}])
        clock.advance(timedelta(minutes=10))
    log.close()
    box.predictions.seal()
    window = box.predictions.predictions(
        "mill", 1, START + timedelta(minutes=10), START + timedelta(minutes=20)
    )
    assert window["event_time"].to_pylist() == [START + timedelta(minutes=10)]
    assert box.predictions.predictions("mill", 2).num_rows == 0
    assert box.predictions.predictions("other").num_rows == 0


def test_sealing_again_changes_nothing_and_the_raw_file_is_gone(box: Box, clock: FixedClock) -> None:
    log = open_log(box)
    path = segment_path(box, log)
    predict(log, clock, [{"heat": 1.0}])
    log.close()
    assert path.exists()
    box.predictions.seal()
    entries = box.ledger.head()[0]
    assert box.predictions.seal() == []
    assert not path.exists()
    assert box.ledger.head()[0] == entries
    assert box.predictions.predictions("mill").num_rows == 1


def test_a_raw_file_left_by_a_crash_after_the_commit_is_swept_by_its_registered_name(
    box: Box, clock: FixedClock
) -> None:
    log = open_log(box)
    path = segment_path(box, log)
    predict(log, clock, [{"heat": 1.0}])
    log.close()
    kept = path.read_bytes()
    box.predictions.seal()
    path.write_bytes(kept)
    stranger = path.with_name("stranger.log")
    stranger.write_bytes(kept)
    with box.db.write() as tx:
        tx.execute("UPDATE segments SET path = ? WHERE id = ?", (path.name, log.segment_id))
    assert box.predictions.seal() == []
    assert not path.exists()
    assert stranger.exists()
    assert box.predictions.predictions("mill").num_rows == 1


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_is_dropped_and_noted(box: Box, clock: FixedClock, cut: int) -> None:
    log = open_log(box)
    first = predict(log, clock, [{"heat": 1.0}])
    predict(log, clock, [{"heat": 2.0}])
    path = segment_path(box, log)
    log.close()
    os.truncate(path, path.stat().st_size - cut)
    (sealed,) = box.predictions.seal()
    assert box.predictions.predictions("mill")["id"].to_pylist() == first
    assert "unfinished last line" in sealed.note
    row = box.db.one("SELECT note FROM segments WHERE id = ?", (sealed.segment_id,))
    assert row == {"note": sealed.note}


def test_a_flipped_bit_never_becomes_a_prediction(box: Box, clock: FixedClock) -> None:
    log = open_log(box)
    predict(log, clock, [{"heat": 1.0}])
    second = predict(log, clock, [{"heat": 2.0}])
    path = segment_path(box, log)
    log.close()
    data = bytearray(path.read_bytes())
    data[data.index(b'"heat":1.0') + 7] ^= 1
    path.write_bytes(bytes(data))
    report = SegmentReport()
    assert [list(record.ids) for record in read_segment(path, report)] == [second]  # type: ignore[union-attr]
    assert report.damaged_lines == 1


def test_a_full_disk_raises_and_leaves_no_half_line(
    box: Box, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(box)
    first = predict(log, clock, [{"heat": 1.0}])
    real, calls = os.write, []

    def short_then_full(descriptor: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) == 1:
            return real(descriptor, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(prediction_log.os, "write", short_then_full)
        with pytest.raises(StorageError, match="No space left"):
            predict(log, clock, [{"heat": 2.0}])
    assert log.failure is not None
    third = predict(log, clock, [{"heat": 3.0}])
    assert log.failure is None
    log.close()
    (sealed,) = box.predictions.seal()
    assert box.predictions.predictions("mill")["id"].to_pylist() == first + third
    assert sealed.note == ""


def test_a_failed_fsync_tells_the_owner_once_and_is_not_retried(
    box: Box, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[OSError] = []
    log = open_log(box, on_sync_error=told.append)
    predict(log, clock, [{"heat": 1.0}])
    clock.advance(timedelta(seconds=2))

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(prediction_log.os, "fsync", failing)
        with pytest.raises(OSError, match="Input/output"):
            log.tick()
    assert [error.errno for error in told] == [errno.EIO]


def test_rotation_follows_age_size_and_request(box: Box, clock: FixedClock) -> None:
    log = open_log(box, rotation=RotationPolicy(max_bytes=2000, max_age_s=60))
    seen = [log.segment_id]

    def ticked() -> bool:
        log.tick()
        changed = log.segment_id != seen[-1]
        seen.append(log.segment_id)
        return changed

    predict(log, clock, [{"heat": 1.0}])
    assert not ticked()
    clock.advance(timedelta(seconds=61))
    assert ticked()
    clock.advance(timedelta(seconds=61))
    assert not ticked(), "an empty segment has no age"
    predict(log, clock, [{"heat": 1.0}] * 80)
    assert ticked()
    predict(log, clock, [{"heat": 1.0}])
    assert not ticked()
    with Box.open(box.home.root, clock=clock) as other:
        assert not other.predictions.request_rotation(timeout_s=0), "nobody ticked yet"
        assert ticked()
    assert len(box.predictions.seal()) == 3


def test_a_running_log_rotates_on_request(box: Box) -> None:
    log = open_log(box)
    log.start()
    predict(log, FixedClock(START), [{"heat": 1.0}])
    assert box.predictions.request_rotation(timeout_s=5)
    assert [segment.rows for segment in box.predictions.seal()] == [1]
    assert box.predictions.request_rotation(timeout_s=5), "empty: nothing to wait for"
    assert box.predictions.seal() == []
    log.close()


def test_the_segment_of_a_dead_process_is_sealed_and_that_of_a_live_one_is_not(
    box: Box, clock: FixedClock
) -> None:
    log = open_log(box)
    predict(log, clock, [{"heat": 1.0}])
    assert box.predictions.seal() == []
    with box.db.write() as tx:
        tx.execute("UPDATE segments SET pid = 1, pid_started = 1.0")
    assert [segment.rows for segment in box.predictions.seal()] == [1]


def test_the_newest_truth_of_an_id_wins_even_within_one_moment(box: Box, clock: FixedClock) -> None:
    log = open_log(box)
    (id_,) = predict(log, clock, [{"heat": 1.0}])
    at_us = int(clock.now().timestamp() * 1e6)
    truths = [Truth(id_, "false", 0.0), Truth(id_, "true", 1.0)]
    log.write(lambda take: truth_line(TruthRecord("mill", at_us, truths)))
    log.close()
    box.predictions.seal()
    assert box.predictions.truth("mill").to_pylist() == [
        {"id": id_, "truth": "true", "truth_number": 1.0, "at": START}
    ]
    assert box.predictions.truth("mill", ["nothing"]).num_rows == 0


def test_a_prediction_is_found_by_its_id_before_and_after_sealing(box: Box, clock: FixedClock) -> None:
    log = open_log(box)
    (id_,) = predict(log, clock, [{"heat": 4.0, "kind": 3}])
    before = box.predictions.find(id_)
    log.close()
    box.predictions.seal()
    assert before is not None
    assert before == box.predictions.find(id_)
    assert before["feature:heat"] == 4.0
    assert before["model"] == "mill"
    assert box.predictions.find("../../etc/passwd") is None
    assert box.predictions.find("0" * 22 + "-00000000") is None


def test_a_feature_that_changed_its_type_between_versions_is_read_as_text(
    box: Box, clock: FixedClock
) -> None:
    other = Signature(
        "binary", "fails", (Feature("heat", "categorical", "varchar", ("hot",)),), (False, True)
    )
    box.models.register(VersionDraft("mill", "mill", "binary", True, other, {}, {}, (), "s", None))
    log = open_log(box)
    predict(log, clock, [{"heat": 4.0}])
    log.write(
        lambda take: record_line(
            PredictionRecord("mill", 2, "champion", 0, take(1), [{"heat": "hot"}], None, None, None, 1.0)
        )
    )
    log.close()
    box.predictions.seal()
    table = box.predictions.predictions("mill")
    assert sorted(table["feature:heat"].to_pylist()) == ["4", "hot"]
