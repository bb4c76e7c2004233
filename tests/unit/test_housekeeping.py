"""Housekeeping removes what nobody needs, and nothing else."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from mlops_box.box import Box
from mlops_box.db import compact
from mlops_box.operations.housekeeping import LOG_AGE, housekeeping
from mlops_box.run_log import run_logs


def age(path: Path, by: timedelta) -> None:
    moment = path.stat().st_mtime - by.total_seconds()
    os.utime(path, (moment, moment))


def test_old_scratch_and_old_logs_go_and_what_is_in_use_stays(box: Box) -> None:
    old = box.home.scratch / "old"
    old.mkdir()
    (old / "part").write_bytes(b"x" * 1000)
    busy = box.home.scratch / "busy"
    busy.mkdir()
    (busy / "checkpoint").write_bytes(b"x")
    for path in (old / "part", old, busy):
        age(path, timedelta(days=2))
    stale_log = box.home.logs / "server.log.3"
    stale_log.write_text("x")
    age(stale_log, LOG_AGE + timedelta(days=1))
    (box.home.logs / "server.log").write_text("x")
    old_run = run_logs(box.home) / "01old.log"
    old_run.parent.mkdir()
    old_run.write_text("x")
    age(old_run, LOG_AGE + timedelta(days=1))

    outcome = housekeeping(box)

    assert (outcome.swept, outcome.swept_bytes, outcome.logs_pruned) == (1, 1000, 2)
    assert outcome.problems == ()
    assert [p.name for p in box.home.scratch.iterdir()] == ["busy"]
    assert [p.name for p in box.home.logs.iterdir() if p.is_file()] == ["server.log"]
    assert [p.stem for p in run_logs(box.home).iterdir()] == [outcome.run_id]
    run = box.runs.get(outcome.run_id)
    assert run.state == "completed"
    assert len(box.runs.steps(run.id)) == 6


def test_a_run_of_a_dead_process_is_closed_as_crashed(box: Box) -> None:
    run = box.runs.begin("train", "bikes", trigger="manual")
    with box.db.write() as tx:
        tx.execute("UPDATE runs SET pid_started = pid_started - 1 WHERE id = ?", (run.id,))
    assert housekeeping(box).runs_closed == (run.id,)
    assert box.runs.get(run.id).state == "crashed"


def test_a_foreign_database_gives_its_free_pages_back_only_when_there_are_many(tmp_path: Path) -> None:
    import pysqlite3.dbapi2 as sqlite

    path = tmp_path / "prefect.db"
    assert compact(path, min_free_bytes=1) == 0
    connection = sqlite.connect(str(path))
    connection.execute("CREATE TABLE t (x BLOB)")
    connection.executemany("INSERT INTO t VALUES (zeroblob(10000))", [()] * 200)
    connection.execute("DELETE FROM t")
    connection.commit()
    assert compact(path, min_free_bytes=1 << 30) == 0
    assert compact(path, min_free_bytes=1 << 20) > 1_500_000
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO t VALUES (1)")
    assert compact(path, min_free_bytes=0, timeout_s=0.1) == 0
    connection.close()
