"""Bad input of every kind: one clear error, the documented exit code or status, and nothing is changed."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bad_input_kit import World, assert_one_error, assert_one_json_error, footprint, outside
from disk_case import on_a_disk_of
from serving_kit import Server, environment, running
from train_kit import write_churn, write_houses

from mlops_box.cli.main import main
from mlops_box.operations.locks import FileLock
from mlops_box.operations.supervisor.state import UP_LOCK

Arrange = Callable[[World], list[str]]
CHECK = ["check", "--project", "houses"]
TRAIN = ["train", "--project", "houses", "--direct"]
ROW = '{"area": 50, "town": "a"}'
NO_ID = "0123456789abcdefghjkmn"


@dataclass(frozen=True)
class Case:
    """``says``: what the error must name. ``hint``: what must stand in the advice."""

    name: str
    arrange: Arrange
    exit_code: int
    says: str
    hint: str = ""


def data(content: str | bytes, name: str = "houses.csv") -> Arrange:
    def arrange(world: World) -> list[str]:
        world.data(content, name)
        return CHECK

    return arrange


def damage(column: str, value: str, *, every: int = 4) -> Arrange:
    def arrange(world: World) -> list[str]:
        world.damage(column, value, every=every)
        return CHECK

    return arrange


def edit(old: str, new: str, arguments: list[str] = CHECK) -> Arrange:
    def arrange(world: World) -> list[str]:
        world.edit(old, new)
        return arguments

    return arrange


def query(text: str) -> Arrange:
    return edit("[data]\n", f"[data]\nquery = {json.dumps(text)}\n")


def code(text: str) -> Arrange:
    def arrange(world: World) -> list[str]:
        (world.project / "train.py").write_text(text)
        return TRAIN

    return arrange


def call(*arguments: str) -> Arrange:
    return lambda _: list(arguments)


def churn(change: Callable[[str], str], old: str = "", new: str = "") -> Arrange:
    """Other data for the binary project: its rows are changed as text."""

    def arrange(world: World) -> list[str]:
        folder = world.folder / "churn"
        write_churn(folder, rows=60)
        file = folder / "churn.csv"
        file.write_text(change(file.read_text()))
        declaration = folder / "mlops.toml"
        declaration.write_text(declaration.read_text().replace(old, new, 1))
        return ["check", "--project", "churn"]

    return arrange


def missing_source(world: World) -> list[str]:
    (world.project / "houses.csv").rename(world.project / "house.csv")
    return CHECK


def folder_as_source(world: World) -> list[str]:
    (world.project / "rows").mkdir()
    world.edit('"houses.csv"', '"rows"')
    return CHECK


def endless_header(world: World) -> list[str]:
    with (world.project / "huge.csv").open("wb") as file:
        file.truncate(10 * 1000**3)  # sparse: it takes no room
    world.edit('"houses.csv"', '"huge.csv"')
    return CHECK


def misspelt_target(world: World) -> list[str]:
    world.data((world.project / "houses.csv").read_text().replace("price", "prise", 1))
    return CHECK


def no_truth(world: World) -> list[str]:
    world.edit('price = { type = "double" }', 'price = { type = "double", null = true }')
    world.edit("[model]", "null_rate_change = 1.0\n[model]")
    world.damage("price", "", every=1)
    return CHECK


def rival(world: World) -> list[str]:
    world.edit('name = "houses"', 'name = "barns"')
    world.edit("[model]", '[model]\nname = "houses"')
    world.damage("price", "77", every=50)
    return CHECK


def nothing_declared_here(world: World) -> list[str]:
    (world.project / "mlops.toml").unlink()
    return CHECK


def no_training_file(world: World) -> list[str]:
    (world.project / "train.py").unlink()
    return TRAIN


def newer_database(world: World) -> list[str]:
    world.sql("PRAGMA user_version = 9999")
    return CHECK


def no_database(world: World) -> list[str]:
    for side in ("", "-wal", "-shm"):
        (world.home / f"box.db{side}").unlink(missing_ok=True)
    (world.home / "box.db").write_bytes(b"this is no database\n" * 500)
    return CHECK


def alter(file: Path) -> None:
    file.chmod(0o600)
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)


def altered_object(world: World) -> list[str]:
    alter(world.stored("model.onnx"))
    return ["verify"]


def predict_with_an_altered_model(world: World) -> list[str]:
    alter(world.stored("packed.onnx"))
    return ["predict", "houses", "--row", ROW]


def tampered_ledger(world: World) -> list[str]:
    world.sql("UPDATE ledger SET actor = 'mallory' WHERE seq = 3")
    return ["verify"]


def home_below_a_file(world: World) -> list[str]:
    (world.folder / "file").write_text("in the way")
    return [*CHECK, "--home", "file/home"]


CASES = [
    # --- the data
    Case("missing file", missing_source, 2, "there is no file", "house.csv"),
    Case("empty file", data(""), 2, "is empty"),
    Case("header only", data("id,area,town,price\n"), 3, "0 good rows"),
    Case("folder as source", folder_as_source, 2, "is a folder", "*.csv"),
    Case("unknown format", data(b"PK", "houses.xlsx"), 2, ".xlsx is not known", ".csv"),
    Case("binary garbage as CSV", data(random.Random(0).randbytes(5000)), 2, "houses.csv"),
    Case("broken Parquet", data(b"PAR1" + bytes(60) + b"PAR1", "houses.parquet"), 2, "houses.parquet"),
    Case("broken JSON lines", data('{"id": 1, "area"\n', "houses.jsonl"), 2, "houses.jsonl"),
    Case("no SQLite file", data(b"SQLite format 3\0" + bytes(90), "houses.db"), 2, "houses.db"),
    Case("10 GB header", endless_header, 2, "huge.csv"),
    Case("wrong column", misspelt_target, 2, "'price'", "'prise'"),
    Case("target all null", no_truth, 2, "price"),
    Case("target null against the contract", damage("price", ""), 3, "price.null"),
    Case("one class only", churn(lambda text: text.replace("true", "false")), 2, "left"),
    Case("duplicate keys", damage("id", "7"), 3, "key.unique"),
    Case("NaN rows", damage("area", "nan"), 3, "area.null"),
    Case("infinite rows", damage("area", "inf"), 3, "area.finite"),
    Case("wrong types", damage("area", "spacious"), 3, "'spacious' is no double"),
    Case("unknown categories", damage("town", "z"), 3, "town.in"),
    Case("missing values", damage("area", ""), 3, "area.null"),
    Case("too few rows", edit('quarantine = "5%"', 'quarantine = "5%"\nrows = { min = 500 }'), 3, "400"),
    Case("stale data", churn(str, "[model]", 'freshness = "1d"\n[model]'), 3, "freshness"),
    Case("query reads a file", query("select * from read_csv('/etc/passwd')"), 2, "query"),
    Case("query that is wrong", query("selct id from source"), 2, "query"),
    Case("query that writes", query("copy source to 'stolen.csv'"), 2, "must be one SELECT"),
    # --- the declaration
    Case("no mlops.toml", nothing_declared_here, 2, "there is no", "mlops-box init"),
    Case("broken TOML", edit("[model]", "[model"), 2, "no valid TOML"),
    Case("unknown key", edit("target =", "targt ="), 2, "'model.targt'", "'target'"),
    Case("target among the features", edit('["area", "town"]', '["area", "price"]'), 2, "read the answer"),
    Case("path out of the folder", edit("[model]", '[model]\ntrain = "../t.py:build"'), 2, "inside the project"),
    Case("unknown metric", edit("mae = { max = 30 }", "mea = { max = 30 }", TRAIN), 2, "'mea'", "mae"),
    Case("unknown column to slice by", edit('by = "town"', 'by = "twon"', TRAIN), 2, "'twon'", "town"),
    Case("model of another project", rival, 2, "belongs to project 'houses'", "another name"),
    # --- the training function
    Case("no train.py", no_training_file, 2, "there is no", "[model].train"),
    Case("train.py does not parse", code("def build(params:\n"), 2, "train.py, line 1"),
    Case("train.py raises", code("def build(params):\n    return 1 / 0\n"), 2, "ZeroDivisionError", "params"),
    Case("train.py returns nonsense", code("def build(params):\n    return 42\n"), 2, "returned int"),
    Case("train.py lacks the function", code("def bild(params):\n    return 1\n"), 2, "no function 'build'"),
    Case("train.py exits", code("raise SystemExit(0)\n"), 2, "train.py"),
    Case("unknown snapshot", call(*TRAIN, "--snapshot", NO_ID), 2, NO_ID),
    # --- names
    Case("unknown model", call("predict", "hauses", "--row", ROW), 2, "'hauses'"),
    Case("unknown version", call("models", "show", "houses@99"), 2, "houses@99"),
    Case("name with a path", call("predict", "../../etc/passwd", "--row", ROW), 2, "is not allowed"),
    Case("name with an encoded path", call("rollback", "%2e%2e", "--reason", "x"), 2, "is not allowed"),
    Case("project name with a path", call("init", "../out", "--from", "houses/houses.csv", "--target", "price"), 2, "is not allowed"),
    Case("no prior champion", call("rollback", "houses", "--reason", "x"), 2, "houses"),
    Case("promote a rejected version", call("models", "promote", "houses@2", "--reason", "x"), 4, "houses@2"),
    Case("why nothing", call("why", NO_ID), 2, NO_ID, "name@3"),
    Case("unknown alert", call("alerts", "show", NO_ID), 2, NO_ID),
    Case("unknown run", call("runs", "show", NO_ID), 2, NO_ID),
    Case("unknown decision", call("decisions", "accept", NO_ID), 2, NO_ID),
    Case("unknown snapshot to show", call("data", "show", NO_ID), 2, NO_ID),
    Case("unknown command", call("trian"), 2, "Did you mean 'train'?", "--help"),
    Case("unknown option", call("check", "--projekt", "x"), 2, "'--projekt'", "mlops-box check --help"),
    # --- rows
    Case("row that is no JSON", call("predict", "houses", "--row", "{area: 50"), 2, "--row 1 is no JSON"),
    Case("row with NaN", call("predict", "houses", "--row", '{"area": NaN}'), 2, "no NaN"),
    Case("row of brackets", call("predict", "houses", "--row", "[" * 100_000), 2, "--row 1"),
    Case("row lacks a feature", call("predict", "houses", "--row", '{"town": "a"}'), 2, "area"),
    Case("row of a wrong type", call("predict", "houses", "--row", '{"area": "x", "town": "a"}'), 2, "area"),
    Case("row out of range", call("predict", "houses", "--row", '{"area": -1, "town": "a"}'), 2, "area"),
    Case("rows from nowhere", call("predict", "houses", "--in", "rows.jsonl"), 2, "rows.jsonl"),
    Case("score nothing", call("score", "houses", "--in", "no.csv", "--out", "o.csv"), 2, "no.csv"),
    Case("score into nowhere", call("score", "houses", "--in", "houses/houses.csv", "--out", "no/o.csv"), 2, "no"),
    Case("truth for an unknown id", call("feedback", "houses", "--id", "x", "--value", "1"), 2, "'x'", "ids"),
    Case("truth from nowhere", call("feedback", "houses", "--in", "truth.csv"), 2, "truth.csv"),
    # --- the home
    Case("home below a file", home_below_a_file, 8, "file/home", "MLOPS_BOX_HOME"),
    Case("newer database", newer_database, 7, "newer mlops-box", "upgrade"),
    Case("no database", no_database, 7, "box.db"),
    Case("altered object", altered_object, 7, "damaged (model.onnx)", "backup"),
    Case("altered model", predict_with_an_altered_model, 7, "is damaged"),
    Case("tampered ledger", tampered_ledger, 7, "ledger entry 3: it was altered", "backup"),
]  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    """houses@1 is the champion, houses@2 was rejected by its gate."""
    folder = tmp_path_factory.mktemp("base")
    world = World(folder, folder / "home", folder / "houses")
    write_houses(world.project)
    arguments = ["train", "--project", str(world.project), "--direct", "--home", str(world.home)]
    assert exit_of(arguments) == 0
    world.edit("[gates]", "params = { alpha = 1e6 }\n[gates]")
    assert exit_of(arguments) == 4
    world.edit("params = { alpha = 1e6 }\n", "")
    assert exit_of(["check", *arguments[1:3], *arguments[4:]]) == 0
    return world


@pytest.fixture
def world(base: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    copied = World.copy(base, tmp_path / "world")
    monkeypatch.setenv("MLOPS_BOX_HOME", str(copied.home))
    monkeypatch.chdir(copied.folder)
    return copied


def exit_of(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0)


Said = Callable[[list[str]], tuple[int, str, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Said:
    def run(arguments: list[str]) -> tuple[int, str, str]:
        capsys.readouterr()
        found = exit_of(arguments)
        said = capsys.readouterr()
        return found, said.out, said.err

    return run


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_bad_input_gives_one_clear_error_the_documented_code_and_changes_nothing(
    case: Case, world: World, say: Said
) -> None:
    arguments = case.arrange(world)
    before = (footprint(world.home), outside(world.folder, world.home))
    assert_one_error(say(arguments), case.exit_code, says=case.says, hint=case.hint)
    assert_one_json_error(say([*arguments, "--json"]), case.exit_code, says=case.says)
    assert (footprint(world.home), outside(world.folder, world.home)) == before


def test_a_failed_gate_exits_4_and_leaves_the_champion_alone(world: World, say: Said) -> None:
    world.edit("[gates]", "params = { alpha = 1e6 }\n[gates]")
    before, project = footprint(world.home), outside(world.folder, world.home)
    assert_one_error(say(TRAIN), 4, says="houses@3 was rejected", hint="why houses@3")
    after = footprint(world.home)
    assert after["rows"]["versions"][:2] == before["rows"]["versions"]
    assert len(after["rows"]["versions"]) == 3
    for table in ("snapshots", "aliases", "decisions", "windows"):
        assert after["rows"][table] == before["rows"][table]
    assert outside(world.folder, world.home) == project
    assert_one_json_error(say([*TRAIN, "--json"]), 4, says="houses@4 was rejected")


# --- places that somebody else holds


@pytest.fixture
def taken() -> Iterator[int]:
    """A port in use."""
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


def test_up_on_a_port_in_use_exits_5_and_starts_nothing(world: World, say: Said, taken: int) -> None:
    arguments = ["up", "--detach", "--port", str(taken), "--no-scheduler"]
    before = footprint(world.home)
    assert_one_error(say(arguments), 5, says=f"port {taken} is in use", hint="--port")
    assert_one_json_error(say([*arguments, "--json"]), 5, says=f"port {taken}")
    assert footprint(world.home) == before
    assert not (world.home / "run/server.json").exists()


def test_up_on_a_home_that_is_up_exits_5(world: World, say: Said) -> None:
    lock = FileLock(world.home / "run" / UP_LOCK)
    assert lock.try_acquire()
    try:
        before = footprint(world.home)
        assert_one_error(say(["up", "--detach", "--port", "0"]), 5, says="up already")
        assert_one_json_error(say(["up", "--port", "0", "--json"]), 5, says="up already")
        assert footprint(world.home) == before
    finally:
        lock.release()


def serve(home: Path, port: int) -> tuple[int, dict[str, Any]]:
    """The exit code and the error of a server that must not start."""
    command = [sys.executable, "-m", "mlops_box_services", "--home", str(home), "--port", str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stderr)["error"]


def test_a_server_on_a_port_in_use_or_a_served_home_exits_5(
    served: tuple[World, Server], world: World, taken: int
) -> None:
    before = footprint(served[0].home)
    for home, port, says in ((world.home, taken, f"port {taken}"), (served[0].home, 0, "served already")):
        exit_code, error = serve(home, port)
        assert (exit_code, error["code"]) == (5, "busy")
        assert says in error["message"]
    assert footprint(served[0].home) == before
    assert served[1].call("GET", "/readyz")[0] == 200


# --- a disk that is full or read-only

CLI = "import sys; from mlops_box.cli.main import main; main()"
COPY = "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2], dirs_exist_ok=True)"
STATE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from bad_input_kit import footprint
print(json.dumps(footprint(Path(sys.argv[2])), default=repr))
"""
FILL = """
import contextlib, sys
with contextlib.suppress(OSError), open(sys.argv[1], "wb", buffering=0) as file:
    while True:
        file.write(bytes(4096))
"""


@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_a_home_on_a_full_or_read_only_disk_exits_8_and_stays_as_it_was(
    base: World, tmp_path: Path, kind: str
) -> None:
    disk, home = tmp_path / "disk", tmp_path / "disk/home"
    disk.mkdir()
    project = World.copy(base, tmp_path / "own")
    project.damage("price", "77", every=50)  # other data: a snapshot that the box does not have
    state = [STATE, str(Path(__file__).parent), str(home)]
    arguments = ["--home", str(home)]
    commands = [
        ["check", "--project", str(project.project)],
        ["train", "--project", str(project.project), "--direct"],
        ["predict", "houses", "--row", ROW],
    ]
    steps = [
        [COPY, str(base.home), str(home)],
        [FILL, str(disk / "filler")] if kind == "full" else ["ro"],
        state,
        *[[CLI, *command, *arguments] for command in commands],
        state,
    ]
    told = on_a_disk_of("24m", disk, *steps)
    before, *refused, after = told[-len(commands) - 2 :]
    for found in refused:
        assert_one_error((found.returncode, found.stdout, found.stderr), 8, says="")
    assert (before.returncode, before.stderr) == (0, "")
    assert before.stdout == after.stdout


# --- over HTTP

PREDICT = "/models/houses/predict"
FEEDBACK = "/models/houses/feedback"
GOOD = {"area": 50, "town": "a"}
HUGE = b'{"rows": [' + b" " * 12_000_000 + b"]}"
REQUESTS: list[tuple[str, str, str, Any, dict[str, str], int, str, str]] = [
    ("huge body", "POST", PREDICT, HUGE, {}, 413, "too_large", ""),
    ("invalid JSON", "POST", PREDICT, b'{"rows": [', {}, 400, "malformed", "no JSON"),
    ("NaN in JSON", "POST", PREDICT, b'{"rows": [{"area": NaN, "town": "a"}]}', {}, 400, "malformed", "no JSON"),
    ("100,000 brackets", "POST", PREDICT, b"[" * 100_000, {}, 400, "malformed", "no JSON"),
    ("empty body", "POST", PREDICT, b"", {}, 400, "malformed", "no JSON"),
    ("no rows", "POST", PREDICT, {"rows": []}, {}, 422, "usage", "no row"),
    ("unknown key", "POST", PREDICT, {"row": [GOOD]}, {}, 422, "usage", "row"),
    ("too many rows", "POST", PREDICT, {"rows": [GOOD] * 1025}, {}, 422, "usage", "1024"),
    ("form", "POST", PREDICT, b"area=5", {"Content-Type": "text/plain"}, 415, "content_type", ""),
    ("foreign host", "GET", "/models", None, {"Host": "evil.com"}, 421, "host", ""),
    ("foreign page", "POST", PREDICT, {"rows": [GOOD]}, {"Origin": "http://evil.com"}, 403, "origin", ""),
    ("unknown model", "POST", "/models/hauses/predict", {"rows": [GOOD]}, {}, 404, "not_found", "hauses"),
    ("unknown version", "POST", "/models/houses@99/predict", {"rows": [GOOD]}, {}, 404, "not_found", "99"),
    ("path", "POST", "/models/../../etc/passwd/predict", {"rows": [GOOD]}, {}, 404, "not_found", ""),
    ("encoded path", "POST", "/models/%2e%2e%2f%2e%2e%2fbox.db/predict", {"rows": [GOOD]}, {}, 404, "not_found", ""),
    ("wrong method", "GET", PREDICT, None, {}, 405, "method", ""),
    ("wrong type", "POST", PREDICT, {"rows": [{"area": "x", "town": "a"}]}, {}, 422, "contract", "row 0: area"),
    ("missing feature", "POST", PREDICT, {"rows": [GOOD, {"town": "a"}]}, {}, 422, "contract", "row 1: area"),
    ("out of range", "POST", PREDICT, {"rows": [{"area": -1, "town": "a"}]}, {}, 422, "contract", "area"),
    ("unknown category", "POST", PREDICT, {"rows": [{"area": 5, "town": "z"}]}, {}, 422, "contract", "town"),
    ("unknown column", "POST", PREDICT, {"rows": [{**GOOD, "rooms": 3}]}, {}, 422, "contract", "rooms"),
    ("unknown id", "POST", FEEDBACK, {"truth": [{"id": "x", "value": 1}]}, {}, 422, "contract", "'x'"),
    ("truth of a wrong type", "POST", FEEDBACK, {"truth": [{"id": "x", "value": "y"}]}, {}, 422, "contract", "row 0"),
]  # fmt: skip


@pytest.fixture(scope="module")
def served(base: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Server]]:
    world = World.copy(base, tmp_path_factory.mktemp("served"))
    with running(world.home) as server:
        yield world, server


@pytest.mark.parametrize("request_", REQUESTS, ids=[request[0] for request in REQUESTS])
def test_a_bad_request_gives_one_error_its_status_and_changes_nothing(
    served: tuple[World, Server], request_: tuple[str, str, str, Any, dict[str, str], int, str, str]
) -> None:
    _, method, path, body, headers, status, code, says = request_
    world, server = served
    before = footprint(world.home)
    found, _, answer = server.call(method, path, body, headers)
    assert found == status, answer
    assert set(answer) == {"error"}
    assert set(answer["error"]) == {"code", "message", "hint", "details"}
    assert answer["error"]["code"] == code
    assert says in answer["error"]["message"]
    assert footprint(world.home) == before
    assert server.predict("houses", GOOD)[0] == 200


def test_the_status_of_every_bad_request_is_documented(served: tuple[World, Server]) -> None:
    paths = served[1].call("GET", "/docs.json")[2]["paths"]
    routes = {PREDICT: "/models/{name}/predict", FEEDBACK: "/models/{name}/feedback", "/models": "/models"}
    for name, method, path, _, _, status, _, _ in REQUESTS:
        operations = paths[routes.get(path, "/models/{name}/predict")]
        if method.lower() in operations:
            assert str(status) in operations[method.lower()]["responses"], name
