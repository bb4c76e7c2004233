"""The command line of the house: verify, backup, ledger, schema, completion, and how errors look."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from mlops_box.box import Box
from mlops_box.cli import main as cli
from mlops_box.cli.main import COMMANDS, command
from mlops_box.clock import isoformat
from mlops_box.errors import BusyError, IntegrityError, StorageError, UsageError
from mlops_box.objects import ObjectStore
from mlops_box.operations.backup import backup
from mlops_box.operations.verify import verify
from mlops_box.runs import this_process

SILENT = {"completion", "schema", "tui"}  # they print what they are for: a script, JSON, a screen


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A box with objects, a ledger, a sealed and an open segment."""
    home = tmp_path / "home"
    owner, now = this_process(), isoformat(datetime(2026, 1, 1, tzinfo=UTC))
    with Box.open(home, actor="tester") as box:
        digests = [box.objects.put_bytes(f"object {n}".encode(), kind="test") for n in range(4)]
        for number in range(5):
            box.ledger.record("test.act", f"thing:{number}", {"number": number})
        (box.home.predictions / "open.log").write_bytes(b"records")
        (box.home.keys / "signing.key").write_bytes(b"secret")
        with box.db.write() as tx:
            for segment, state in (("sealed", "sealed"), ("open", "open")):
                tx.insert("segments", {
                    "id": segment, "path": f"{segment}.log", "state": state, "pid": owner.pid,
                    "pid_started": owner.pid_started, "boot_id": owner.boot_id, "opened_at": now,
                })  # fmt: skip
            tx.insert("sealed", {
                "segment_id": "sealed", "model": "bikes", "kind": "prediction", "digest": digests[0], "rows": 1,
                "time_min": now, "time_max": now,
            })  # fmt: skip
    return home


def run(*arguments: str | Path) -> tuple[int, str, str]:
    script = "import sys; from mlops_box.cli.main import main; main()"
    found = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in found.stderr, found.stderr
    return found.returncode, found.stdout, found.stderr


def every_command() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(command)
    for name in COMMANDS:
        if not (Path(cli.__file__).parent / f"{COMMANDS[name][0]}.py").exists():
            continue  # test_house_imports says so
        found = command.get_command(context, name)
        assert found is not None
        yield name, found


def leaves(name: str, found: click.Command) -> Iterator[tuple[str, click.Command]]:
    if isinstance(found, click.Group):
        for below in found.list_commands(click.Context(found)):
            one = found.get_command(click.Context(found), below)
            assert one is not None
            yield from leaves(f"{name} {below}", one)
    else:
        yield name, found


# --- the table of commands


def test_the_table_of_commands_says_what_the_commands_say() -> None:
    for name, found in every_command():
        assert found.get_short_help_str(200) == COMMANDS[name][1]
        for path, leaf in leaves(name, found):
            assert leaf.help or leaf.short_help, path


def test_every_command_with_output_speaks_json() -> None:
    for name, found in every_command():
        for path, leaf in leaves(name, found):
            options = {option for parameter in leaf.params for option in parameter.opts}
            assert name in SILENT or "--json" in options, path


def test_every_option_explains_itself() -> None:
    for name, found in every_command():
        for path, leaf in leaves(name, found):
            for parameter in leaf.params:
                if isinstance(parameter, click.Option):
                    plain = isinstance(parameter.type, click.Choice) or parameter.show_default
                    assert parameter.help or plain, f"{path} {parameter.opts[0]}"


def test_a_misspelt_command_is_answered_with_the_nearest() -> None:
    code, _, errors = run("trian")
    assert code == 2
    assert "Did you mean 'train'?" in errors


@pytest.mark.parametrize(
    "arguments", [["verify", "--nope"], ["completion"], ["ledger", "show", "x"], ["ledger", "shw"]]
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    code, out, errors = run(*arguments)
    assert code == 2
    assert errors
    code, out, _ = run(*arguments, "--json")
    assert code == 2
    assert json.loads(out)["error"]["code"] == "usage"


def test_errors_are_one_line_and_a_hint_for_people_and_one_object_for_programs(tmp_path: Path) -> None:
    code, out, errors = run("verify", "--home", tmp_path / "nothing")
    assert (code, out) == (2, "")
    assert errors.splitlines()[0].startswith("error: there is no box in ")
    assert errors.splitlines()[1].startswith("  try: ")
    code, out, errors = run("verify", "--home", tmp_path / "nothing", "--json")
    assert (code, errors) == (2, "")
    assert json.loads(out)["error"]["code"] == "not_found"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2), (BusyError("x"), 5), (IntegrityError("x"), 7), (StorageError("x"), 8),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), 8), (OSError(errno.EROFS, "Read-only"), 8),
        (KeyboardInterrupt(), 130), (click.Abort(), 130), (click.UsageError("x"), 2),
    ],
)  # fmt: skip
def test_every_way_to_fail_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(command, "main", fail)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["verify"])
    assert stopped.value.code == code


def test_an_unexpected_failure_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.EISDIR, "Is a directory")

    monkeypatch.setattr(command, "main", fail)
    with pytest.raises(OSError, match="Is a directory"):
        cli.main(["verify"])


def test_a_closed_pipe_is_no_failure(home: Path) -> None:
    script = f"import sys; from mlops_box.cli.main import main; main(['ledger', 'export', '--home', {str(home)!r}])"
    with Box.open(home) as box:
        for number in range(2000):
            box.ledger.record("test.act", f"thing:{number}", {"text": "x" * 200})
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    os.read(read, 100)
    os.close(read)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (0, 1), "click's own answer to a closed pipe is 1"
    assert errors == ""


# --- verify


def test_verify_says_what_it_looked_at_and_changes_nothing(home: Path) -> None:
    before = (home / "box.db").read_bytes()
    code, out, _ = run("verify", "--home", home)
    assert code == 0
    assert "5 entries, unbroken" in out
    code, out, _ = run("verify", "--home", home, "--json")
    report = json.loads(out)
    assert (report["entries"], report["objects"], report["references"], report["problems"]) == (5, 4, 1, [])
    assert (home / "box.db").read_bytes() == before


def break_it(home: Path, kind: str) -> str:
    with Box.open(home) as box:
        digest = box.db.read("SELECT digest FROM sealed")[0]["digest"]
        if kind == "ledger":
            with box.db.write() as tx:
                tx.execute("UPDATE ledger SET facts = '{\"number\":9}' WHERE seq = 3")
            return "ledger entry 3: it was altered"
        if kind == "object":
            box.objects.path(digest).write_bytes(b"objekt 0")
            return f"object {digest}: damaged (test)"
        if kind == "lost object":
            box.objects.path(digest).unlink()
            return f"object {digest}: missing (test)"
        with box.db.write() as tx:
            tx.execute("DELETE FROM objects WHERE digest = ?", (digest,))
        return f"predictions of bikes in segment sealed: its object {digest} is not registered"


@pytest.mark.parametrize("kind", ["ledger", "object", "lost object", "reference"])
def test_verify_names_what_is_broken_and_exits_7(home: Path, kind: str) -> None:
    message = break_it(home, kind)
    code, out, errors = run("verify", "--home", home)
    assert code == 7
    assert message in errors
    assert out == ""
    code, out, _ = run("verify", "--home", home, "--json")
    error = json.loads(out)["error"]
    assert (code, error["code"], error["message"]) == (7, "integrity", message)
    assert len(error["details"]["problems"]) == 1


def test_verify_finds_a_byte_flipped_anywhere_in_the_database(home: Path) -> None:
    with Box.open(home) as box:
        box.db.one("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray((home / "box.db").read_bytes())
    at = data.index(b"thing:3")
    data[at : at + 7] = b"thing:4"
    (home / "box.db").write_bytes(data)
    code, _, errors = run("verify", "--home", home)
    assert code == 7
    assert "ledger entry 4: it was altered" in errors or "box.db" in errors


def test_a_head_noted_elsewhere_shows_that_entries_were_cut_off(home: Path) -> None:
    _, noted, _ = run("ledger", "head", "--home", home)
    assert run("verify", "--home", home, "--head", noted.strip())[0] == 0
    with Box.open(home) as box, box.db.write() as tx:
        tx.execute("DELETE FROM ledger WHERE seq = 5")
        tx.execute("UPDATE sqlite_sequence SET seq = 4 WHERE name = 'ledger'")
    assert run("verify", "--home", home)[0] == 0, "from inside it cannot be seen"
    code, _, errors = run("verify", "--home", home, "--head", noted.strip())
    assert code == 7
    assert "ledger entry 5: it was cut off" in errors
    assert run("verify", "--home", home, "--head", "five")[0] == 2


# --- ledger


def test_the_ledger_can_be_listed_shown_and_exported(home: Path, tmp_path: Path) -> None:
    code, out, _ = run("ledger", "list", "--home", home, "--json", "--limit", "2")
    assert [entry["seq"] for entry in json.loads(out)] == [5, 4]
    assert "thing:4" in run("ledger", "list", "--home", home)[1]
    code, out, _ = run("ledger", "show", "3", "--home", home, "--json")
    assert json.loads(out)["facts"] == {"number": 2}
    assert run("ledger", "show", "99", "--home", home)[0] == 2
    code, out, _ = run("ledger", "export", "--home", home)
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line["prev"] for line in lines[1:]] == [line["hash"] for line in lines[:-1]]
    target = tmp_path / "ledger.jsonl"
    code, out, _ = run("ledger", "export", "--home", home, "--out", target, "--json")
    assert (code, json.loads(out)["entries"]) == (0, 5)
    assert len(target.read_text().splitlines()) == 5
    assert run("ledger", "export", "--home", home, "--out", target)[0] == 2


def test_control_characters_of_foreign_texts_do_not_reach_the_terminal(home: Path) -> None:
    with Box.open(home) as box:
        box.ledger.record("test.act", "thing:\x1b[31mred", {"text": "\x1b]0;title\x07"})
    for arguments in (["ledger", "list"], ["ledger", "show", "6"]):
        assert "\x1b" not in run(*arguments, "--home", home)[1]


# --- backup


def test_a_backup_is_a_home_that_opens_and_verifies(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    code, out, errors = run("backup", copy, "--home", home, "--json")
    assert code == 0, errors
    report = json.loads(out)
    assert (report["objects"], report["segments"], report["keys"]) == (4, 1, False)
    assert run("verify", "--home", copy)[0] == 0
    assert (copy / "predictions/open.log").read_bytes() == b"records"
    assert list((copy / "keys").iterdir()) == []
    assert {path.stat().st_mode & 0o077 for path in copy.rglob("*")} == {0}
    with Box.open(copy) as box:
        assert [entry.seq for entry in box.ledger.walk()] == [1, 2, 3, 4, 5]
        box.ledger.record("test.act", "life goes on", {})
    assert run("verify", "--home", copy)[0] == 0
    with Box.open(home, read_only=True) as box:
        assert box.ledger.entries(limit=1)[0].act == "backup.make"
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_keys_are_copied_only_when_asked(home: Path, tmp_path: Path) -> None:
    assert run("backup", tmp_path / "copy", "--keys", "--home", home)[0] == 0
    key = tmp_path / "copy/keys/signing.key"
    assert key.read_bytes() == b"secret"
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_backup_knows_when_entries_were_cut_off_after_it(home: Path, tmp_path: Path) -> None:
    run("backup", tmp_path / "copy", "--home", home)
    with Box.open(tmp_path / "copy") as box, box.db.write() as tx:
        tx.execute("DELETE FROM ledger WHERE seq = 5")
        tx.execute("UPDATE sqlite_sequence SET seq = 4 WHERE name = 'ledger'")
    code, _, errors = run("verify", "--home", tmp_path / "copy")
    assert code == 7
    assert "ledger entry 5: it was cut off" in errors


@pytest.mark.parametrize("where", ["inside", "a file", "not empty", "forbidden"])
def test_a_backup_that_cannot_be_made_says_why_and_leaves_nothing(
    home: Path, tmp_path: Path, where: str
) -> None:
    targets = {"inside": home / "copy", "a file": tmp_path / "file", "not empty": tmp_path / "full"}
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("x")
    before = sorted(path for path in tmp_path.rglob("*") if not path.name.startswith("box.db"))
    code, _, errors = run("backup", targets.get(where, Path("/proc/copy")), "--home", home)
    assert code == (8 if where == "forbidden" else 2)
    assert errors.startswith("error: ")
    assert sorted(path for path in tmp_path.rglob("*") if not path.name.startswith("box.db")) == before


def test_a_damaged_object_is_not_copied_as_if_it_were_whole(home: Path, tmp_path: Path) -> None:
    break_it(home, "object")
    code, _, errors = run("backup", tmp_path / "copy", "--home", home)
    assert code == 7
    assert "is damaged" in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def test_a_full_target_disk_is_a_storage_error_and_leaves_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Box.open(home) as box:
        with monkeypatch.context() as patch:
            patch.setattr("mlops_box.operations.backup.os.fsync", full)
            with pytest.raises(StorageError, match="No space left"):
                backup(box, tmp_path / "copy")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]
        assert box.ledger.head()[0] == 5


def test_a_backup_made_while_the_box_works_holds_every_object_its_rows_name(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects and a sealing arrive between the copy of the database and the copy of the files."""
    with Box.open(home) as box, Box.open(home) as other:
        original, calls = ObjectStore.path, []

        def path_and_more(store: ObjectStore, digest: str, *, verify: bool = False) -> Path:
            if not calls:
                calls.append(1)
                sealed = other.objects.put_bytes(b"sealed rows", kind="predictions")
                now = isoformat(other.clock.now())
                with other.db.write() as tx:
                    tx.execute("UPDATE segments SET state = 'sealed' WHERE id = 'open'")
                    tx.insert("sealed", {
                        "segment_id": "open", "model": "bikes", "kind": "prediction", "digest": sealed, "rows": 1,
                        "time_min": now, "time_max": now,
                    })  # fmt: skip
                (other.home.predictions / "open.log").unlink()
            return original(store, digest, verify=verify)

        monkeypatch.setattr(ObjectStore, "path", path_and_more)
        report = backup(box, tmp_path / "copy")
    assert (report.objects, report.segments) == (5, 0)
    with Box.open(tmp_path / "copy") as copy:
        assert verify(copy).problems == ()
        assert copy.db.one("SELECT COUNT(*) AS n FROM sealed") == {"n": 2}


# --- schema and completion


def test_the_schema_is_printed_as_json() -> None:
    for arguments in (["schema"], ["schema", "--json"]):
        code, out, _ = run(*arguments)
        assert code == 0
        assert json.loads(out)["title"] == "mlops.toml"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_us_and_we_answer_them(shell: str) -> None:
    result = CliRunner().invoke(command, ["completion", shell], standalone_mode=False)
    assert f"_MLOPS_BOX_COMPLETE={shell}_complete" in result.output
    environment = os.environ | {
        "_MLOPS_BOX_COMPLETE": f"{shell}_complete", "COMP_WORDS": "mlops-box ver", "COMP_CWORD": "1",
    }  # fmt: skip
    if shell == "fish":
        environment["COMP_CWORD"] = "ver"
    script = "from mlops_box.cli.main import main; main([])"
    found = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert "verify" in found.stdout, found.stderr
