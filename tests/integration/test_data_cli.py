"""init, check and data on the command line, on real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlops_box.cli.main import main

SHARED = Path(__file__).parents[2].parent / "shared/data"


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """``run("check", ...)`` -> (exit code, standard output, standard error)."""
    monkeypatch.setenv("MLOPS_BOX_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return call


def _shared(file: str) -> str:
    if not (SHARED / file).exists():
        pytest.skip(f"../shared/data/{file} is not here")
    return str(SHARED / file)


def test_a_machine_log_with_byte_order_mark_and_spaces_in_names_becomes_a_project(run: Any) -> None:
    file = _shared("ai4i2020/ai4i2020.csv")
    code, out, _ = run("init", "milling", "--from", file, "--target", "Machine failure", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["task"] == "binary"
    assert report["features"][0] == "Type"
    assert not {"UID", "Product ID", "TWF", "HDF", "PWF", "OSF", "Machine failure"} & set(report["features"])
    code, out, _ = run("check", "--project", "milling", "--json")
    outcome = json.loads(out)
    assert code == 0
    assert outcome["verdict"]["rows_in"] == outcome["snapshot"]["rows"] == 10_000
    code, out, _ = run("check", "--project", "milling")
    assert "the same data as before" in out


def test_hourly_rentals_with_a_damaged_byte_lose_one_row_and_say_which(run: Any) -> None:
    file = _shared("bike-sharing/hour.csv")
    code, out, _ = run("init", "bikes", "--from", file, "--target", "cnt", "--time", "dteday")
    assert code == 0
    assert "casual + registered is cnt in every row" in out
    code, out, _ = run("check", "--project", "bikes", "--json")
    verdict = json.loads(out)["verdict"]
    assert verdict["rows_in"] == 17_379 == verdict["rows_good"] + verdict["rows_rejected"]
    snapshot = json.loads(out)["snapshot"]["id"]
    code, out, _ = run("data", "quarantine", snapshot[:10], "--json")
    assert code == 0
    assert len(json.loads(out)["rejects"]) == verdict["rows_rejected"]
    code, out, _ = run("data", "show", snapshot[:10])
    assert "quarantine.share" in out
    code, out, _ = run("data", "list", "--json")
    assert [item["id"] for item in json.loads(out)] == [snapshot]


def test_a_refused_batch_exits_3_and_prints_rule_rows_and_three_examples(run: Any, tmp_path: Path) -> None:
    good = "".join(f"{n / 100},{n % 7}\n" for n in range(100))
    (tmp_path / "d.csv").write_text("share,y\n" + good)
    assert run("init", "small", "--from", "d.csv", "--target", "y")[0] == 0
    assert run("check", "--project", "small")[0] == 0
    (tmp_path / "d.csv").write_text("share,y\n" + good + "7.5,1\n-3,2\n9,3\nbad,4\n-1,5\n\x1b[31m,6\n")
    code, out, err = run("check", "--project", "small")
    assert (code, out) == (3, "")
    assert "quarantine.share: 6 of 106 rows are bad" in err
    assert "share.max: 2 rows, for example row 101: share = 7.5; row 103: share = 9.0" in err
    assert "line 105: 'bad' is no double" in err
    code, out, _ = run("data", "refusals", "--json")
    assert [item["verdict"]["rows_in"] for item in json.loads(out)] == [106]
    assert len(json.loads(run("data", "list", "--json")[1])) == 1
    code, out, _ = run("check", "--project", "small", "--json")
    assert json.loads(out)["error"]["code"] == "refused"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("init", "p", "--from", "nothing.csv", "--target", "y"), "there is no file"),
        (("init", "P!", "--from", "d.csv", "--target", "y"), "is not allowed"),
        (("init", "../p", "--from", "d.csv", "--target", "y"), "is not allowed"),
        (("init", "p", "--from", "d.csv", "--target", "z"), "no column 'z'"),
        (("init", "p", "--from", "empty.csv", "--target", "z"), "is empty"),
        (("init", "p", "--from", "header.csv", "--target", "y"), "holds no row"),
        (("init", "p", "--from", ".", "--target", "y"), "is a folder"),
        (("check", "--project", "nowhere"), "there is no"),
        (("data", "show", "0123"), "there is no box"),
        (("data", "frobnicate"), "No such command"),
    ],
)
def test_bad_input_gives_one_error_exits_2_and_writes_nothing(
    run: Any, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "d.csv").write_text("x,y\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("x,y\n")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run(*arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err + out
    assert sorted(path for path in tmp_path.rglob("*") if "home" not in path.parts) == before
