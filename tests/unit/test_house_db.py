"""box.db: migrations, locks, threads, processes and a disk that says no."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pysqlite3.dbapi2 as sqlite
import pytest

from mlops_box.db import Database, engine, migrate, sqlite_version
from mlops_box.errors import BusyError, IntegrityError, StorageError

ROW = {"size_bytes": 1, "kind": "test", "created_at": "2026-01-01T00:00:00.000Z"}
HOLDER = """
import sys, time
import pysqlite3.dbapi2 as sqlite
connection = sqlite.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""
WRITER = """
import sys
from pathlib import Path
from mlops_box.db import Database
db = Database(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    with db.write() as tx:
        count = tx.one("SELECT COUNT(*) AS n FROM objects")["n"]
        tx.insert("objects", {"digest": f"{sys.argv[2]}-{number}", "size_bytes": count, "kind": "k", "created_at": "t"})
"""


@pytest.fixture
def db(tmp_path: Path):
    database = Database(tmp_path / "box.db")
    yield database
    database.close()


def test_the_safe_settings_are_in_force(db: Database, tmp_path: Path) -> None:
    assert sqlite_version() >= (3, 51, 3)
    values = {name: db.read(f"PRAGMA {name}")[0] for name in ("journal_mode", "synchronous", "foreign_keys")}
    assert [next(iter(value.values())) for value in values.values()] == ["wal", 2, 1]
    assert db.read("PRAGMA trusted_schema")[0]["trusted_schema"] == 0
    assert db.check() == []
    assert {file.stat().st_mode & 0o777 for file in tmp_path.glob("box.db*")} == {0o600}


def test_an_sqlite_that_can_corrupt_the_database_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "sqlite_version", lambda: (3, 40, 1))
    with pytest.raises(IntegrityError, match="can corrupt"):
        Database(tmp_path / "box.db")
    assert not (tmp_path / "box.db").exists()


def test_a_transaction_is_whole_or_not_at_all(db: Database) -> None:
    def half() -> None:
        with db.write() as tx:
            tx.insert("objects", {"digest": "a", **ROW})
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        half()
    assert db.read("SELECT * FROM objects") == []


def test_a_nested_transaction_that_fails_is_undone_alone_and_the_outer_one_goes_on(db: Database) -> None:
    with db.write() as tx:
        tx.insert("objects", {"digest": "outer", **ROW})
        with pytest.raises(RuntimeError, match="inner"), db.write() as inner:
            inner.insert("objects", {"digest": "inner", **ROW})
            raise RuntimeError("inner")
        with db.write() as inner:
            inner.insert("objects", {"digest": "second", **ROW})
    assert [row["digest"] for row in db.read("SELECT digest FROM objects ORDER BY 1")] == ["outer", "second"]


def test_what_the_outer_transaction_loses_the_inner_one_loses_too(db: Database) -> None:
    with pytest.raises(RuntimeError, match="outer"), db.write():
        with db.write() as inner:
            inner.insert("objects", {"digest": "inner", **ROW})
        raise RuntimeError("outer")
    assert db.read("SELECT * FROM objects") == []


def test_insert_keeps_or_replaces_an_existing_row_as_told(db: Database) -> None:
    with db.write() as tx:
        tx.insert("objects", {"digest": "a", **ROW})
        tx.insert("objects", {"digest": "a", **ROW, "kind": "ignored"}, ignore=True)
        assert tx.one("SELECT kind FROM objects") == {"kind": "test"}
        tx.insert("objects", {"digest": "a", **ROW, "kind": "replaced"}, replace=True)
        assert tx.one("SELECT kind FROM objects") == {"kind": "replaced"}
        assert tx.execute("UPDATE objects SET kind = 'z'") == 1


def test_many_short_threads_leave_no_connection_behind(db: Database) -> None:
    def look() -> None:
        db.one("SELECT 1")
        with db.write() as tx:
            tx.execute("UPDATE objects SET kind = kind")

    look()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(60):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_threads_write_at_once_without_losing_a_row(db: Database) -> None:
    def work(name: int) -> None:
        for number in range(20):
            with db.write() as tx:
                tx.insert("objects", {"digest": f"{name}-{number}", **ROW})

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.one("SELECT COUNT(*) AS n FROM objects") == {"n": 80}


def test_processes_that_read_and_then_write_never_fail_with_busy(tmp_path: Path) -> None:
    path = tmp_path / "box.db"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), name, "60"], stderr=subprocess.PIPE, text=True
        )
        for name in ("one", "two", "three")
    ]
    errors = [writer.communicate(timeout=120)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0], errors
    rows = Database(path).read("SELECT size_bytes FROM objects ORDER BY size_bytes")
    # Each saw the count of all before it: no read was stale when its write was made.
    assert [row["size_bytes"] for row in rows] == list(range(180))


def test_a_lock_held_too_long_is_busy_and_not_a_storage_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 100)
    db = Database(tmp_path / "box.db")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(db.path), "30"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        started = time.monotonic()
        with pytest.raises(BusyError, match="held by another process"), db.write():
            pass
        assert time.monotonic() - started < 5
        assert db.read("SELECT * FROM objects") == [], "readers are never shut out"
    finally:
        holder.kill()
        holder.wait()
    with db.write() as tx:
        tx.insert("objects", {"digest": "after", **ROW})


def test_a_forked_child_does_not_use_its_parents_connection(db: Database) -> None:
    with db.write() as tx:
        tx.insert("objects", {"digest": "parent", **ROW})
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with db.write() as tx:
                tx.insert("objects", {"digest": "child", **ROW})
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert db.one("SELECT COUNT(*) AS n FROM objects") == {"n": 2}
    assert db.check() == []


def test_every_migration_is_recorded_with_its_number(db: Database) -> None:
    known = migrate.migrations()
    assert [number for number, _, _ in known] == list(range(1, len(known) + 1))
    recorded = db.read("SELECT number, name FROM migrations ORDER BY number")
    assert [(row["number"], row["name"]) for row in recorded] == [(number, name) for number, name, _ in known]
    assert db.read("PRAGMA user_version")[0]["user_version"] == known[-1][0]


def test_an_older_database_is_brought_forward_and_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = migrate.migrations()
    with_row = Database(tmp_path / "box.db")
    with with_row.write() as tx:
        tx.insert("objects", {"digest": "old", **ROW})
    with_row.close()
    step = "ALTER TABLE objects ADD COLUMN extra TEXT;\nCREATE TABLE added (a INTEGER) STRICT;\n"
    monkeypatch.setattr(migrate, "migrations", lambda: [*known, (known[-1][0] + 1, "more", step)])
    migrated = Database(tmp_path / "box.db")
    assert migrated.read("SELECT digest, extra FROM objects") == [{"digest": "old", "extra": None}]
    assert migrated.read("SELECT name FROM migrations ORDER BY number DESC LIMIT 1") == [{"name": "more"}]


def test_a_migration_that_fails_leaves_the_old_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = migrate.migrations()
    Database(tmp_path / "box.db").close()
    broken = "CREATE TABLE half (a INTEGER) STRICT;\nALTER TABLE nowhere ADD COLUMN b TEXT;\n"
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "migrations", lambda: [*known, (known[-1][0] + 1, "broken", broken)])
        with pytest.raises(sqlite.OperationalError, match="nowhere"):
            Database(tmp_path / "box.db")
    again = Database(tmp_path / "box.db")
    assert again.read("SELECT 1 FROM sqlite_schema WHERE name = 'half'") == []
    assert again.read("PRAGMA user_version")[0]["user_version"] == known[-1][0]


def test_a_script_that_ends_inside_a_statement_is_refused() -> None:
    with pytest.raises(ValueError, match="inside a statement"):
        migrate.statements("CREATE TABLE a (b);\nCREATE TABLE c (d)")
    assert len(migrate.statements("CREATE TABLE a (b);\n-- the end\n")) == 1


def test_a_newer_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "box.db"
    with sqlite.connect(str(path)) as connection:
        connection.execute("PRAGMA user_version=9999")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(IntegrityError, match="newer mlops-box") as caught:
        Database(path, read_only=True)
    assert "upgrade" in str(caught.value.hint)
    assert path.read_bytes() == before
    with pytest.raises(IntegrityError, match="schema 9999"):
        Database(path)


def test_a_file_that_is_no_database_is_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "box.db").write_bytes(b"this is not SQLite" * 200)
    with pytest.raises(IntegrityError, match="damaged"):
        Database(tmp_path / "box.db")


def test_a_torn_page_is_found_by_the_check(tmp_path: Path) -> None:
    path = tmp_path / "box.db"
    db = Database(path)
    with db.write() as tx:
        for number in range(400):
            tx.insert("objects", {"digest": f"{number:064}", **ROW})
    db.close()
    data = bytearray(path.read_bytes())
    pages = len(data) // 4096
    data[4096 * (pages - 3) : 4096 * (pages - 2)] = os.urandom(4096)
    path.write_bytes(data)
    damaged = Database(path)
    try:
        found = damaged.check()
    except IntegrityError as error:
        found = [error.message]
    assert found


def test_read_only_looks_and_cannot_write(db: Database) -> None:
    with db.write() as tx:
        tx.insert("objects", {"digest": "a", **ROW})
    looking = Database(db.path, read_only=True)
    assert looking.one("SELECT digest FROM objects") == {"digest": "a"}
    with pytest.raises(StorageError, match="readonly"), looking.write() as tx:
        tx.execute("DELETE FROM objects")
    version = looking.data_version()
    with db.write() as tx:
        tx.insert("objects", {"digest": "b", **ROW})
    assert looking.data_version() != version


def test_a_missing_folder_is_a_storage_error(tmp_path: Path) -> None:
    for read_only in (False, True):
        with pytest.raises(StorageError):
            Database(tmp_path / "nowhere/box.db", read_only=read_only)


def test_a_full_disk_is_a_storage_error_and_loses_nothing_committed(tmp_path: Path) -> None:
    path = tmp_path / "box.db"
    db = Database(path)
    with db.write() as tx:
        tx.insert("objects", {"digest": "kept", **ROW})
    pages = db.read("PRAGMA page_count")[0]["page_count"]
    # The same SQLITE_FULL that a full disk gives, without needing a small file system.
    db.read(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StorageError, match="full") as caught, db.write() as tx:
        for number in range(5000):
            tx.insert("objects", {"digest": f"{number:064}", **ROW})
    assert caught.value.hint == "free some space"
    db.read("PRAGMA max_page_count=1000000")
    assert db.read("SELECT digest FROM objects") == [{"digest": "kept"}]
    assert db.check() == []


def test_a_path_with_odd_characters_is_only_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "a b?mode=memory#x%20ü"
    folder.mkdir()
    Database(folder / "box.db").close()
    assert (folder / "box.db").stat().st_size > 0


def test_a_mistake_of_ours_is_not_blamed_on_the_disk(db: Database) -> None:
    with pytest.raises(sqlite.OperationalError, match="no such table"):
        db.read("SELECT * FROM nowhere")
    with pytest.raises(sqlite.IntegrityError), db.write() as tx:
        tx.insert("objects", {"digest": "a", **ROW, "size_bytes": None})
    with pytest.raises(FileNotFoundError), db.write():
        Path("/nowhere/at/all").read_text()


def test_the_copy_of_a_database_in_use_is_whole(db: Database, tmp_path: Path) -> None:
    stop = threading.Event()

    def keep_writing() -> None:
        number = 0
        while not stop.is_set():
            with db.write() as tx:
                tx.insert("objects", {"digest": str(number), **ROW})
            number += 1

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        time.sleep(0.05)
        db.backup(tmp_path / "copy.db")
    finally:
        stop.set()
        writer.join()
    copy = Database(tmp_path / "copy.db")
    assert copy.check() == []
    assert copy.read("SELECT COUNT(*) AS n FROM objects")[0]["n"] > 0
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


def test_eight_first_starts_at_once_all_find_a_ready_database(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from mlops_box.box import Box; Box.open(Path(sys.argv[1])).close()"
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "home")], stderr=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    errors = [start.communicate(timeout=120)[1] for start in starts]
    assert [start.returncode for start in starts] == [0] * 8, errors


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("database or disk is full", StorageError), ("disk I/O error", StorageError),
        ("database is locked", BusyError), ("database disk image is malformed", IntegrityError),
    ],
)  # fmt: skip
def test_errors_that_come_without_a_code_are_told_apart_by_their_text(
    db: Database, text: str, kind: type
) -> None:
    with pytest.raises(kind), db.write():
        raise sqlite.OperationalError(text)
