"""The device's log: bounded by bytes, oldest first dropped and counted, nothing acknowledged twice."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from mlops_box.edge.device.log import PREDICTION, TRUTH, WINDOW, Entry, RingLog

MB = 1_000_000


def entries(count: int, kind: str = PREDICTION, size: int = 160) -> list[Entry]:
    return [Entry("boot", index, index, kind, "x" * size) for index in range(count)]


def test_records_come_back_in_order_in_portions_and_only_once_acknowledged_they_are_gone(
    tmp_path: Path,
) -> None:
    ring = RingLog(tmp_path / "log.db", MB)
    ring.append(entries(10))
    ring.append(entries(1, TRUTH))
    first = ring.read(0, 500)
    assert [entry.seq for entry in first] == [1, 2, 3]
    assert ring.read(0, 1)[0] == Entry("boot", 0, 0, PREDICTION, "x" * 160, 1), "one at least, however large"
    assert [entry.seq for entry in ring.read(3, MB)] == [4, 5, 6, 7, 8, 9, 10, 11]
    assert ring.acknowledge(10) == 10
    assert (ring.backlog, ring.acknowledge(10)) == (1, 0)
    ring.acknowledge(11)
    ring.append(entries(1))
    assert [entry.seq for entry in ring.read(0, MB)] == [12], "no number is given twice"
    assert ring.dropped == {PREDICTION: 0, TRUTH: 0, WINDOW: 0}, "what was acknowledged was not dropped"


def test_a_full_log_drops_its_oldest_segment_counts_it_and_keeps_its_histograms(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    ring = RingLog(path, MB)
    written = 0
    for _ in range(120):
        ring.append(entries(100) + entries(1, WINDOW, 300) + entries(1, TRUTH))
        written += 1
        assert ring.used_bytes <= MB
    kept = ring.read(0, 100 * MB)
    by_kind = {kind: [entry for entry in kept if entry.kind == kind] for kind in (PREDICTION, TRUTH, WINDOW)}
    dropped = ring.dropped
    assert dropped[PREDICTION] > 1000
    assert len(by_kind[PREDICTION]) + dropped[PREDICTION] == 100 * written
    assert len(by_kind[TRUTH]) + dropped[TRUTH] == written
    assert (len(by_kind[WINDOW]), dropped[WINDOW]) == (written, 0), "all histograms are there"
    sequence = [entry.seq for entry in by_kind[PREDICTION]]
    assert sequence == sorted(set(sequence))
    assert min(sequence) > dropped[PREDICTION], "the oldest went"
    ring.close()
    assert path.stat().st_size < 1.1 * MB
    again = RingLog(path, MB)
    assert again.dropped == dropped, "the count survives the process"


def test_histograms_alone_may_not_take_more_than_a_quarter_beside_rows(tmp_path: Path) -> None:
    ring = RingLog(tmp_path / "log.db", MB)
    ring.append(entries(200))
    for _ in range(150):
        ring.append(entries(1, WINDOW, 7_000))
    ring.append(entries(4000))
    windows = [entry for entry in ring.read(0, 100 * MB) if entry.kind == WINDOW]
    assert 30 < len(windows) <= 36
    assert len(windows) + ring.dropped[WINDOW] == 150
    assert windows[-1].seq == 350, "the newest stay"


def test_several_processes_and_threads_share_it(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    writer, reader = RingLog(path, 10 * MB), RingLog(path, 10 * MB)
    threads = [
        threading.Thread(target=lambda: [writer.append(entries(5)) for _ in range(20)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        found = reader.read(0, MB)
        if found:
            reader.acknowledge(found[0].seq)
    for thread in threads:
        thread.join()
    left = reader.read(0, 100 * MB)
    assert left[-1].seq == 400
    assert reader.backlog == len(left)


def test_a_failed_transaction_leaves_nothing_and_the_next_one_succeeds(tmp_path: Path) -> None:
    ring = RingLog(tmp_path / "log.db", MB)
    bad = [*entries(2), Entry("boot", 0, 0, "gossip", "x")]
    with pytest.raises(OSError, match="CHECK"):
        ring.append(bad)
    assert ring.backlog == 0
    ring.append(entries(1), {"name": "value"})
    assert (ring.backlog, ring.fact("name"), ring.fact("other")) == (1, "value", None)


def test_what_is_no_log_is_refused_and_its_mode_is_private(tmp_path: Path) -> None:
    RingLog(tmp_path / "log.db", MB).close()
    assert (tmp_path / "log.db").stat().st_mode & 0o077 == 0
    (tmp_path / "text").write_text("no database at all, but long enough to be looked at" * 40)
    with pytest.raises(OSError, match="not a database"):
        RingLog(tmp_path / "text", MB)


def test_a_reader_that_died_in_a_transaction_does_not_hold_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    ring = RingLog(path, MB)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM records").fetchone()
    ring.append(entries(10))
    assert ring.backlog == 10
    other.close()
