"""Objects, the ledger and runs: what is stored stays, and what is not what it was is named."""

from __future__ import annotations

import dataclasses
import errno
import math
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlops_box.box import Box
from mlops_box.clock import FixedClock
from mlops_box.errors import BusyError, IntegrityError, NotFoundError, RefusedError, StorageError
from mlops_box.ledger import GENESIS, Ledger
from mlops_box.operations.steps import recorded_run
from mlops_box.runs import Owner, boot_id, this_process


@pytest.fixture
def box(tmp_path: Path):
    with Box.open(
        tmp_path / "home", clock=FixedClock(datetime(2026, 1, 1, tzinfo=UTC)), actor="tester"
    ) as opened:
        yield opened


# --- objects


def test_the_same_bytes_are_stored_once(box: Box) -> None:
    first = box.objects.put_bytes(b"model", kind="model")
    again = box.objects.put_bytes(b"model", kind="other")
    assert first == again
    assert box.db.read("SELECT kind, size_bytes FROM objects") == [{"kind": "model", "size_bytes": 5}]
    assert box.objects.path(first).stat().st_mode & 0o777 == 0o600
    assert box.objects.read(first) == b"model"


def test_a_finished_file_is_moved_in(box: Box) -> None:
    for _ in range(2):
        made = box.home.scratch / "out.parquet"
        made.write_bytes(b"rows" * 1000)
        digest = box.objects.put_file(made, kind="snapshot")
        assert not made.exists()
    assert box.objects.read(digest) == b"rows" * 1000
    with pytest.raises(StorageError, match=r"missing\.parquet"):
        box.objects.put_file(box.home.scratch / "missing.parquet", kind="snapshot")


def test_an_altered_object_is_never_handed_out(box: Box) -> None:
    digest = box.objects.put_bytes(b"model", kind="model")
    box.objects.path(digest).write_bytes(b"m0del")
    with pytest.raises(IntegrityError, match="damaged"):
        box.objects.read(digest)
    with pytest.raises(IntegrityError, match="damaged"):
        box.objects.path(digest, verify=True)
    assert box.objects.damaged() == [digest]


def test_storing_the_same_bytes_again_mends_a_damaged_object(box: Box) -> None:
    digest = box.objects.put_bytes(b"model", kind="model")
    box.objects.path(digest).write_bytes(b"")
    box.objects.put_bytes(b"model", kind="model")
    assert box.objects.read(digest) == b"model"
    box.objects.path(digest).unlink()
    made = box.home.scratch / "again"
    made.write_bytes(b"model")
    box.objects.put_file(made, kind="model")
    assert box.objects.damaged() == []


def test_a_lost_object_is_damage_and_an_unknown_one_is_not_found(box: Box) -> None:
    digest = box.objects.put_bytes(b"model", kind="model")
    box.objects.path(digest).unlink()
    with pytest.raises(IntegrityError, match="missing"):
        box.objects.read(digest)
    assert box.objects.damaged() == [digest]
    with pytest.raises(NotFoundError):
        box.objects.read("0" * 64)
    for wrong in ("../../etc/passwd", "", "A" * 64, digest + "\n"):
        with pytest.raises(NotFoundError, match="no object id"):
            box.objects.path(wrong)
        assert not box.objects.exists(wrong)


@pytest.mark.parametrize("call", ["open", "fsync", "rename"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_says_no_leaves_nothing_behind(
    box: Box, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(f"mlops_box.objects.os.{call}", refuse)
        with pytest.raises(StorageError, match="cannot store 5 bytes"):
            box.objects.put_bytes(b"model", kind="model")
    assert [path for path in box.home.objects.rglob("*") if path.is_file()] == []
    assert box.db.read("SELECT * FROM objects") == []
    assert box.objects.read(box.objects.put_bytes(b"model", kind="model")) == b"model"


def test_temporary_files_of_killed_writers_are_swept_and_young_ones_kept(tmp_path: Path) -> None:
    with Box.open(tmp_path / "home") as box:
        folder = box.objects.path(box.objects.put_bytes(b"model", kind="model")).parent
        old, young = folder / ".tmp-old", folder / ".tmp-young"
        old.write_bytes(b"half")
        young.write_bytes(b"half")
        os.utime(old, (time.time() - 7200,) * 2)
        assert box.objects.sweep(older_than=timedelta(hours=1)) == 1
        assert young.exists()
        assert not old.exists()
        assert box.objects.damaged() == []


# --- ledger


def fill(ledger: Ledger, count: int = 6) -> None:
    for number in range(count):
        ledger.record("test.act", f"thing:{number}", {"number": number, "text": "ü\x1b[31m"})


def test_the_chain_begins_at_nothing_and_each_entry_holds_the_one_before(box: Box) -> None:
    assert box.ledger.head() == (0, GENESIS)
    fill(box.ledger)
    entries = list(box.ledger.walk())
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert [entry.prev for entry in entries] == [GENESIS, *[entry.hash for entry in entries[:-1]]]
    assert box.ledger.first_broken() is None
    assert box.ledger.head() == (6, entries[-1].hash)
    assert [entry.seq for entry in box.ledger.entries(limit=2)] == [6, 5]
    assert [entry.seq for entry in box.ledger.entries(subject="thing:3")] == [4]
    assert box.ledger.get(4).facts["number"] == 3
    with pytest.raises(NotFoundError, match="no entry 7; it has 6"):
        box.ledger.get(7)


TAMPERING = {
    "altered facts": (["UPDATE ledger SET facts = '{}' WHERE seq = 3"], 3, "altered"),
    "altered actor": (["UPDATE ledger SET actor = 'nobody' WHERE seq = 1"], 1, "altered"),
    "altered time": (["UPDATE ledger SET at = '2020-01-01T00:00:00.000Z' WHERE seq = 6"], 6, "altered"),
    "altered hash": (["UPDATE ledger SET hash = 'x' WHERE seq = 4"], 4, "altered"),
    "deleted first": (["DELETE FROM ledger WHERE seq = 1"], 1, "missing"),
    "deleted in the middle": (["DELETE FROM ledger WHERE seq = 3"], 3, "missing"),
    "deleted and renumbered": (
        ["DELETE FROM ledger WHERE seq = 3", "UPDATE ledger SET seq = seq - 1 WHERE seq > 3"], 3, "does not follow",
    ),
    "swapped": (
        ["UPDATE ledger SET seq = 99 WHERE seq = 2", "UPDATE ledger SET seq = 2 WHERE seq = 3",
         "UPDATE ledger SET seq = 3 WHERE seq = 99"], 2, "does not follow",
    ),
    "inserted": (
        ["UPDATE ledger SET seq = seq + 1000 WHERE seq > 3", "UPDATE ledger SET seq = seq - 999 WHERE seq > 1000",
         "INSERT INTO ledger SELECT 4, at, actor, act, subject, facts, prev, 'forged' FROM ledger WHERE seq = 3"],
        4, "does not follow",
    ),
    "replayed": (
        ["INSERT INTO ledger SELECT 7, at, actor, act, subject, facts, prev, hash || 'x' FROM ledger WHERE seq = 2"],
        7, "does not follow",
    ),
    "appended without a right hash": (
        ["INSERT INTO ledger SELECT 7, at, actor, act, subject, facts, hash, 'forged' FROM ledger WHERE seq = 6"],
        7, "altered",
    ),
    "cut off": (["DELETE FROM ledger WHERE seq > 4"], 5, "cut off"),
    "emptied": (["DELETE FROM ledger"], 1, "cut off"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TAMPERING)
def test_tampering_is_named_at_the_first_entry_that_does_not_fit(box: Box, kind: str) -> None:
    fill(box.ledger)
    statements, seq, reason = TAMPERING[kind]
    with box.db.write() as tx:
        for statement in statements:
            tx.execute(statement)
    broken = box.ledger.first_broken()
    assert broken is not None
    assert broken[0] == seq
    assert reason in broken[1]


def test_an_unreadable_entry_is_damage_and_not_a_traceback(box: Box) -> None:
    fill(box.ledger)
    with box.db.write() as tx:
        tx.execute("UPDATE ledger SET facts = 'not json' WHERE seq = 2")
    with pytest.raises(IntegrityError, match="entry 2 of the ledger"):
        box.ledger.entries()


def test_an_act_that_fails_leaves_no_entry(box: Box) -> None:
    with pytest.raises(RuntimeError, match="late"), box.db.write() as tx:
        box.ledger.append(tx, "test.act", "thing:1", {})
        raise RuntimeError("late")
    assert box.ledger.head() == (0, GENESIS)
    fill(box.ledger, 1)
    assert box.ledger.first_broken() is None


def test_acts_of_many_processes_make_one_chain(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from mlops_box.box import Box\n"
        "box = Box.open(Path(sys.argv[1]), actor=sys.argv[2])\n"
        "for n in range(30): box.ledger.record('test.act', f'thing:{n}', {'n': n})\n"
    )
    home = tmp_path / "home"
    acting = [subprocess.Popen([sys.executable, "-c", script, str(home), name]) for name in ("a", "b", "c")]
    assert [process.wait(timeout=120) for process in acting] == [0, 0, 0]
    with Box.open(home, read_only=True) as box:
        assert box.ledger.head()[0] == 90
        assert box.ledger.first_broken() is None


# --- runs


def begin(box: Box, **more: object):
    return box.runs.begin("train", "bikes", trigger="manual", **more)  # type: ignore[arg-type]


def disown(box: Box, run_id: str, owner: Owner) -> None:
    with box.db.write() as tx:
        tx.execute(
            "UPDATE runs SET pid = ?, pid_started = ?, boot_id = ? WHERE id = ?",
            (owner.pid, owner.pid_started, owner.boot_id, run_id),
        )


def test_a_run_of_a_living_owner_is_left_alone(box: Box) -> None:
    run = begin(box)
    assert run.owner.is_alive()
    assert box.runs.close_dead() == []
    assert box.runs.get(run.id).state == "running"


@pytest.mark.parametrize("death", ["pid gone", "pid used again", "machine restarted"])
def test_a_run_whose_owner_is_gone_is_closed_as_crashed(box: Box, death: str) -> None:
    run, me = begin(box), this_process()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    owner = {
        "pid gone": dataclasses.replace(me, pid=gone.pid),
        "pid used again": dataclasses.replace(me, pid_started=me.pid_started - 1),
        "machine restarted": dataclasses.replace(me, boot_id="another boot"),
    }[death]
    box.runs.begin_step(run.id, "fit")
    disown(box, run.id, owner)
    assert [closed.id for closed in box.runs.close_dead()] == [run.id]
    closed = box.runs.get(run.id)
    assert (closed.state, closed.ended_at) == ("crashed", box.clock.now())
    assert [step.state for step in box.runs.steps(run.id)] == ["failed"]
    assert box.ledger.entries()[0].act == "train.crashed"
    assert box.runs.close_dead() == []


def test_a_zombie_is_dead(box: Box) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    stat = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    owner = Owner(child.pid, int(stat[19]) / os.sysconf("SC_CLK_TCK"), boot_id())
    assert owner.is_alive()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not owner.is_alive(), "killed, but not yet collected by its parent"
    child.wait()
    assert not owner.is_alive()


def test_a_step_of_the_wall_clock_does_not_kill_a_living_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    me = this_process()
    monkeypatch.setattr(psutil, "boot_time", lambda: 0.0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert me.is_alive()


def test_a_run_closed_in_its_absence_can_no_longer_write(box: Box) -> None:
    run = begin(box)
    seq = box.runs.begin_step(run.id, "fit")
    box.runs.end(run.id, "crashed", error="taken for dead")
    with pytest.raises(BusyError, match="closed as crashed"):
        box.runs.begin_step(run.id, "evaluate")
    with pytest.raises(BusyError, match="closed as crashed"):
        box.runs.end(run.id, "completed", result={})
    with pytest.raises(BusyError), box.db.write() as tx:
        box.runs.assert_running(tx, run.id)
        tx.execute("DELETE FROM runs")
    box.runs.end_step(run.id, seq)
    assert [step.state for step in box.runs.steps(run.id)] == ["failed"]
    assert box.runs.get(run.id).error == "taken for dead"


def test_closing_a_run_twice_writes_one_entry(box: Box) -> None:
    run = begin(box)
    for _ in range(2):
        box.runs.end(run.id, "completed", result={"version": 1})
    assert box.runs.get(run.id).result == {"version": 1}
    assert box.ledger.head()[0] == 2
    with pytest.raises(NotFoundError):
        box.runs.end("nobody", "completed")


def test_one_key_starts_one_run(box: Box) -> None:
    run = begin(box, idempotency_key="decision-1")
    with pytest.raises(BusyError) as caught:
        begin(box, idempotency_key="decision-1")
    assert caught.value.details == {"run_id": run.id, "state": "running"}
    assert len(box.runs.list()) == 1
    assert begin(box, idempotency_key="decision-2").fence == run.fence + 1


def test_runs_are_found_by_the_beginning_of_their_id(box: Box) -> None:
    first, second = begin(box), begin(box)
    assert box.runs.get(first.id[:-1] if first.id[:-1] != second.id[:-1] else first.id).id == first.id
    with pytest.raises(NotFoundError, match="several runs"):
        box.runs.get(first.id[:4])
    for nobody in ("zzz", "%", "_"):
        with pytest.raises(NotFoundError, match="no run"):
            box.runs.get(nobody)
    assert {run.id for run in box.runs.list(project="bikes", kind="train", state="running")} == {
        first.id,
        second.id,
    }
    assert box.runs.list(kind="score") == []


def test_values_over_time_are_overwritten_and_not_doubled(box: Box) -> None:
    run = begin(box)
    box.runs.point(run.id, 1, {"loss": 0.5, "val": float("nan")})
    box.runs.point(run.id, 1, {"loss": 0.4})
    box.runs.point(run.id, 2, {"loss": 0.3})
    points = box.runs.points(run.id)
    assert points["loss"] == [(1, 0.4), (2, 0.3)]
    assert math.isnan(points["val"][0][1])


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (RefusedError("bad rows"), "refused"),
        (RuntimeError("bug"), "failed"),
        (KeyboardInterrupt(), "cancelled"),
    ],
)
def test_whatever_way_a_run_is_left_it_is_closed(box: Box, error: BaseException, state: str) -> None:
    with pytest.raises(type(error)), recorded_run(box, "check", "bikes", trigger="manual") as (run, steps):
        steps.run("one", lambda: 1)
        raise error
    assert box.runs.get(run.id).state == state


def test_a_run_that_was_taken_for_dead_does_not_end_as_if_nothing_had_happened(box: Box) -> None:
    with (
        pytest.raises(BusyError, match="closed as crashed"),
        recorded_run(box, "check", "bikes", trigger="manual") as (run, _),
    ):
        box.runs.end(run.id, "crashed")


def test_a_step_is_recorded_with_its_failure(box: Box) -> None:
    def fail() -> None:
        raise ValueError("no such thing")

    with (
        pytest.raises(ValueError, match="no such thing"),
        recorded_run(box, "check", "bikes", trigger="manual") as (run, steps),
    ):
        assert steps.run("first", lambda: 7) == 7
        steps.run("second", fail)
    assert [(step.name, step.state, step.detail) for step in box.runs.steps(run.id)] == [
        ("first", "completed", ""), ("second", "failed", "no such thing"),
    ]  # fmt: skip


def test_opening_read_only_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no box"):
        Box.open(tmp_path / "home", read_only=True)
    assert list(tmp_path.iterdir()) == []
    Box.open(tmp_path / "home").close()
    before = sorted(tmp_path.rglob("*"))
    with Box.open(tmp_path / "home", read_only=True) as looking:
        assert looking.runs.list() == []
        with pytest.raises(StorageError):
            looking.ledger.record("test.act", "x")
    assert [path for path in before if not path.exists()] == []


# --- the order in which a file becomes real


def test_a_file_is_durable_before_its_name_and_its_name_before_its_row(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill cannot show a missing fsync; the order of the calls can."""
    calls: list[str] = []

    def watch(name: str) -> None:
        call = getattr(os, name)

        def wrapper(*arguments: object, **options: object) -> object:
            kind = ""
            if name == "fsync":
                assert isinstance(arguments[0], int)
                kind = " folder" if os.path.isdir(f"/proc/self/fd/{arguments[0]}") else " file"
            calls.append(name + kind)
            return call(*arguments, **options)

        monkeypatch.setattr(os, name, wrapper)

    for name in ("fsync", "rename"):
        watch(name)
    register = box.objects._register
    monkeypatch.setattr(box.objects, "_register", lambda *rest: (calls.append("row"), register(*rest)))
    box.objects.put_bytes(b"model", kind="model")
    new_folder = ["fsync folder"]
    assert calls == [*new_folder, "fsync file", "rename", "fsync folder", "row"]
    calls.clear()
    made = box.home.scratch / "made"
    made.write_bytes(b"another")
    box.objects.put_file(made, kind="model")
    assert calls == ["fsync file", *new_folder, "rename", "fsync folder", "row"]
    calls.clear()
    digest = box.objects.put_bytes(b"model", kind="model")
    assert calls == ["row"], "stored already: nothing to do"
    with box.db.write() as tx:
        tx.execute("DELETE FROM objects")
    calls.clear()
    box.objects.put_bytes(b"model", kind="model")
    assert calls == ["fsync file", "fsync folder", "row"], (
        "a file that a crash left without its row is made durable first"
    )
    assert box.objects.read(digest) == b"model"
