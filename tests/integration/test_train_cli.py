"""`mlops-box train --direct`, `models`, `runs`, `rollback`, as a person and as a program."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from train_kit import Told, commander, edit, write_houses

from mlops_box.box import Box

Run = Callable[..., Told]


@pytest.fixture
def run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    return commander(tmp_path / "home", capfd)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_houses(tmp_path / "houses").folder


def test_train_tells_people_and_programs_the_same(run: Run, folder: Path) -> None:
    told = run("train", "--project", str(folder), "--direct", "--json")
    assert told.code == 0
    assert told.json["version"] == "houses@1"
    assert told.json["promoted"] is True
    assert told.json["champion"] is None
    shown = run("train", "--project", str(folder), "--direct")
    assert shown.code == 0
    assert "houses@2 is the champion now" in shown.out
    assert "houses@1" in shown.out
    assert "✓ mae" in shown.out
    assert "mlops-box models card houses@2" in shown.out
    assert "… fit" in shown.err


def test_a_failed_gate_exits_4_shows_the_gates_and_keeps_the_champion(run: Run, folder: Path) -> None:
    assert run("train", "--project", str(folder), "--direct", "--json").code == 0
    edit(folder, "[gates]", "params = { alpha = 1e6 }\n[gates]")
    told = run("train", "--project", str(folder), "--direct")
    assert told.code == 4
    assert "✗ mae" in told.out
    assert "error: houses@2 was rejected" in told.err
    assert "mlops-box why houses@2" in told.err
    as_json = run("train", "--project", str(folder), "--direct", "--json")
    assert as_json.code == 4
    assert as_json.json["error"]["code"] == "gate"
    assert as_json.json["error"]["details"]["version"] == "houses@3"
    assert run("models", "aliases", "houses", "--json").json == {"champion": 1}


def test_versions_are_listed_shown_compared_promoted_and_rolled_back(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    assert run("models", "list", "--json").json["error"]["code"] == "not_found"
    run("train", "--project", str(folder), "--direct")
    edit(folder, "[gates]", "params = { alpha = 0.5 }\n[gates]")
    edit(folder, 'metric = "mae" }', 'metric = "mae", margin = 5 }')
    assert run("train", "--project", str(folder), "--direct").code == 0
    assert [item["version"] for item in run("models", "list", "--json").json] == ["houses@2", "houses@1"]
    assert "champion" in run("models", "list").out

    shown = run("models", "show", "houses@2").out
    for text in ("houses@2: accepted (champion)", "houses@1", "✓ parity", "area", "model.onnx"):
        assert text in shown
    assert run("models", "show", "houses", "--json").json["compared_with"]["champion"] == "houses@1"

    found = run("models", "diff", "houses@1", "houses@2", "--json").json
    assert found["same_rows"] is True
    assert found["lineage"]["params.alpha"] == {"a": None, "b": 0.5}
    assert found["gates"]["champion"] == {"a": "not judged", "b": "passed"}
    assert "features: no difference" in run("models", "diff", "houses@1", "houses@2").out

    back = run("rollback", "houses", "--reason", "complaints", "--json")
    assert back.json == {"version": "houses@1", "before": "houses@2", "model": "houses"}
    assert run("rollback", "houses", "--reason", "again").code == 2
    forward = run("models", "promote", "houses@2", "--reason", "it was the weather")
    assert "houses@2 is the champion now, instead of houses@1" in forward.out
    assert run("models", "promote", "houses@2", "--reason", "  ").code == 2
    assert run("models", "promote", "houses@9", "--reason", "x").code == 2
    with Box.open(tmp_path / "home", read_only=True) as box:
        acts = [entry.facts.get("reason") for entry in box.ledger.entries(subject="version:houses@2")]
        assert "it was the weather" in acts
        assert box.ledger.first_broken() is None


def test_the_card_is_written_and_a_place_that_cannot_be_written_is_one_error(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    run("train", "--project", str(folder), "--direct")
    target = tmp_path / "card.html"
    told = run("models", "card", "houses", "--out", str(target), "--json")
    assert told.json["file"] == str(target)
    assert target.read_text().startswith("<!doctype html>")
    assert run("models", "card", "houses", "--out", str(tmp_path / "no" / "card.html")).code == 8
    assert run("models", "card", "nothing", "--out", str(target)).code == 2


def test_an_exported_version_runs_without_the_box(run: Run, folder: Path, tmp_path: Path) -> None:
    run("train", "--project", str(folder), "--direct")
    out = tmp_path / "exported"
    assert run("models", "export", "houses", "--out", str(out)).code == 0
    assert run("models", "export", "houses", "--out", str(out)).code == 2
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".exported")]
    code = re.search(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL)
    assert code is not None
    # The README's own code, in a fresh interpreter; isolated, so that our packages cannot help.
    done = subprocess.run(
        [sys.executable, "-I", "-c", code[1] + "\nprint(json.dumps(answers['prediction'].ravel().tolist()))"],
        cwd=out, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    golden = json.loads((out / "golden.json").read_text())
    assert json.loads(done.stdout.splitlines()[-1]) == pytest.approx(golden["prediction"], rel=1e-3, abs=1e-2)
    described = json.loads((out / "MLmodel").read_text())
    assert described["flavors"]["onnx"]["data"] == "model.onnx"
    assert {column["name"] for column in json.loads(described["signature"]["inputs"])} == {"area", "town"}


def test_runs_are_listed_and_shown_with_steps_curves_and_errors(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    run("train", "--project", str(folder), "--direct")
    listed = run("runs", "list", "--kind", "train", "--json").json
    assert [item["state"] for item in listed] == ["completed"]
    with Box.open(tmp_path / "home") as box:
        for epoch in range(1, 6):
            box.runs.point(listed[0]["id"], epoch, {"train_loss": 1 / epoch, "bad": float("nan")})
    shown = run("runs", "show", listed[0]["id"])
    for text in ("train of houses: completed", "register", "train_loss", "houses@1"):
        assert text in shown.out
    facts = run("runs", "show", listed[0]["id"], "--json").json
    assert [step["name"] for step in facts["steps"]][-1] == "promote"
    assert len(facts["points"]["train_loss"]) == 5
    (folder / "houses.csv").unlink()
    assert run("train", "--project", str(folder), "--direct").code == 2
    newest = run("runs", "list", "--json").json[0]
    assert newest["state"] == "failed"
    assert "error:" in run("runs", "show", newest["id"]).out
    assert run("runs", "show", "zzz").code == 2
