"""The log of a run: what is taken down, bounded, and read from the end."""

from __future__ import annotations

import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlops_box.box import Box
from mlops_box.clock import FixedClock
from mlops_box.home import Home
from mlops_box.operations.steps import recorded_run
from mlops_box.run_log import MAX_BYTES, RunLog, read_tail, run_logs


def said(box: Box, run_id: str) -> list[str]:
    lines = read_tail(box.home, run_id).lines
    assert lines is not None
    return [line.partition(" ")[2] for line in lines]


def test_a_run_keeps_its_steps_what_was_logged_and_what_was_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        print("epoch 1")
        logging.getLogger("train").warning("a column is constant")
        print("half a", end=" ")
        print("line")

    with Box.open(tmp_path / "box") as box:
        with recorded_run(box, "train", "bikes", trigger="manual") as (run, steps):
            steps.run("fit", work)
        lines = said(box, run.id)

    assert lines[:4] == [
        "info    train of bikes, asked for by manual",
        "info    fit: begins",
        "printed epoch 1",
        "warning a column is constant",
    ]
    assert lines[4] == "printed half a line"
    assert lines[5].startswith("info    fit: done in ")
    assert capsys.readouterr().out == "epoch 1\nhalf a line\n"


def test_what_prints_by_other_ways_works_as_before(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> str:
        sys.stdout.buffer.write(b"raw\n")
        sys.stdout.writelines(["one\n", "without an end"])
        sys.stdout.flush()
        return sys.stdout.encoding

    with (
        Box.open(tmp_path / "box") as box,
        recorded_run(box, "train", "bikes", trigger="manual") as (run, steps),
    ):
        assert steps.run("fit", work)
        lines = said(box, run.id)

    assert "printed one" in lines
    assert "printed without an end" in lines
    assert "raw" in capfd.readouterr().out


def test_runs_side_by_side_in_one_process_keep_to_themselves(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=60)

    def one(box: Box, name: str) -> str:
        def work() -> None:
            both.wait()
            logging.getLogger("train").warning("of %s", name)
            both.wait()

        with recorded_run(box, "train", name, trigger="manual") as (run, steps):
            steps.run("fit", work)
        return run.id

    with Box.open(tmp_path / "box") as box, ThreadPoolExecutor(2) as pool:
        ids = dict(zip(("ada", "bob"), pool.map(lambda name: one(box, name), ("ada", "bob")), strict=True))
        found = {
            name: [line for line in said(box, run_id) if " of " in line and "asked" not in line]
            for name, run_id in ids.items()
        }

    assert found == {"ada": ["warning of ada"], "bob": ["warning of bob"]}


def test_a_run_that_fails_keeps_why(tmp_path: Path) -> None:
    def work() -> None:
        raise ValueError("no such column")

    with Box.open(tmp_path / "box") as box:
        with pytest.raises(ValueError, match="no such"), recorded_run(box, "train", "bikes", trigger="manual") as (run, steps):  # fmt: skip
            steps.run("fit", work)
        lines = said(box, run.id)

    assert lines[-2:] == [
        "error   fit: ValueError: no such column",
        "error   ended: ValueError: no such column",
    ]


def test_a_folder_that_takes_no_log_fails_no_run(tmp_path: Path) -> None:
    with Box.open(tmp_path / "box") as box:
        run_logs(box.home).write_text("a file where the folder should be")
        with recorded_run(box, "check", "bikes", trigger="manual") as (run, steps):
            assert steps.run("look", lambda: 7) == 7
        assert read_tail(box.home, run.id).lines is None
        assert box.runs.get(run.id).state == "completed"


def test_a_log_ends_where_it_is_full_and_says_so(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.logs.mkdir(parents=True)
    log = RunLog(home, "01run", FixedClock(datetime(2026, 1, 1, tzinfo=UTC)))
    for _ in range(3 * MAX_BYTES // 10_000):
        log.write("ß" * 5_000)
    log.close()

    assert (run_logs(home) / "01run.log").stat().st_size <= MAX_BYTES + 100
    tail = read_tail(home, "01run")
    assert tail.cut
    assert tail.lines is not None
    assert tail.lines[-1].endswith("this log is full")


def test_a_line_that_is_still_being_written_is_left_out(tmp_path: Path) -> None:
    home = Home(tmp_path)
    run_logs(home).mkdir(parents=True)
    (run_logs(home) / "01run.log").write_text("2026-01-01T00:00:00Z info whole\n2026-01-01T00:00:01Z info ha")

    assert read_tail(home, "01run").lines == ("2026-01-01T00:00:00Z info whole",)
    assert read_tail(home, "02run").lines is None


def test_after_a_step_printing_goes_where_it_went(tmp_path: Path) -> None:
    before = sys.stdout
    with (
        Box.open(tmp_path / "box") as box,
        recorded_run(box, "check", "bikes", trigger="manual") as (_, steps),
    ):
        steps.run("look", lambda: None)
    assert sys.stdout is before
    assert not any(
        type(handler).__module__ == "mlops_box.run_log" for handler in logging.getLogger().handlers
    )
