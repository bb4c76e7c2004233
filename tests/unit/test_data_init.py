"""`init` writes a project that loads, whose data pass it, and says why; it never overwrites."""

from __future__ import annotations

import csv
import random
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mlops_box.box import Box
from mlops_box.errors import BoxError, SourceError, TrainingError, UsageError
from mlops_box.operations.check import check
from mlops_box.operations.init import InitReport, init_project
from mlops_box.operations.init_toml import toml
from mlops_box.project import load_project


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _rows(count: int = 400) -> list[dict[str, Any]]:
    dice = random.Random(0)
    rows = []
    for n in range(count):
        a, b = dice.random() * 50 - 10, dice.randrange(100)
        label = int(dice.random() < 0.1)
        rows.append(
            {
                "id": f"K{n}", "at": f"2020-01-{1 + n // 24:02d}T{n % 24:02d}:00:00Z", "a \"b\".c": round(a, 3),
                "size": b, "colour": dice.choice(["red", "grün", "b,lue"]), "rows": dice.randrange(3),
                "always": 7, "note": f"text {dice.random()}", "gap": "" if n % 10 == 0 else round(dice.random(), 3),
                "amount": b * 3 + 0.5, "kind": dice.choice("xyz"), "flag": label, "cause": label and dice.choice([1, 1, 0]),
                "open": str(bool(b % 2)).lower(), "answer": label, "more": b * 2 + 0.5,
            }
        )  # fmt: skip
    return rows


def _init(tmp_path: Path, target: str, **options: Any) -> InitReport:
    (tmp_path / "raw").mkdir(exist_ok=True)
    data = tmp_path / "raw" / "rows.csv"
    if not data.exists():
        _write(data, _rows())
    return init_project(tmp_path / f"made-{target}", source=data, name="made", target=target, **options)


def _why(report: InitReport) -> dict[str, str]:
    return {choice.about: f"{choice.chosen}: {choice.why}" for choice in report.choices}


@pytest.mark.parametrize(
    ("target", "task", "gate"),
    [("amount", "regression", "mae"), ("flag", "binary", "auc"), ("open", "binary", "auc"), ("kind", "multiclass", "accuracy"),
     ("rows", "multiclass", "accuracy"), ("size", "regression", "mae")],
)  # fmt: skip
def test_the_written_project_loads_and_its_data_pass(
    box: Box, tmp_path: Path, target: str, task: str, gate: str
) -> None:
    report = _init(tmp_path, target)
    project = load_project(report.folder)
    assert project.declaration.model.task == report.task == task
    assert list(project.declaration.gates.metrics) == [gate]
    assert project.declaration.data.source == "../raw/rows.csv"
    outcome = check(box, project)
    assert outcome.verdict.accepted
    assert outcome.verdict.rows_quarantined == 0
    assert {choice.about for choice in report.choices} >= {"task", "split", "key", "gate"}


def test_names_constants_texts_and_answers_are_no_features(tmp_path: Path) -> None:
    report = _init(tmp_path, "flag", time="at")
    why = _why(report)
    assert "another value in every row" in why["id"]
    assert "the same value in every row" in why["always"]
    assert "a name, not a property" in why["note"]
    assert "the same as flag" in why["answer"]
    assert "looks like a part of the answer" in why["cause"]
    assert why["split"].startswith("time: the newest rows")
    assert report.features == ('a "b".c', "size", "colour", "rows", "gap", "amount", "kind", "open", "more")
    assert load_project(report.folder).declaration.data.key == ["at"]


def test_two_columns_that_add_up_to_the_target_are_no_features(tmp_path: Path) -> None:
    rows = [row | {"total": row["size"] + row["rows"]} for row in _rows()]
    (tmp_path / "raw").mkdir()
    _write(tmp_path / "raw" / "rows.csv", rows)
    report = _init(tmp_path, "total")
    assert _why(report)["size"] == _why(report)["rows"] == "no feature: size + rows is total in every row"
    assert not {"size", "rows"} & set(report.features)


def test_the_contract_says_what_the_values_were_with_room(tmp_path: Path) -> None:
    columns = load_project(_init(tmp_path, "amount").folder).declaration.data.contract.columns
    assert columns["colour"].in_ == ["b,lue", "grün", "red"]
    assert (columns["gap"].null, columns["gap"].min, columns["gap"].max) == (True, 0, 1)
    assert columns["size"].min == 0
    assert isinstance(columns["size"].max, float)
    assert 99 < columns["size"].max < 200
    assert columns["rows"].in_ == [0, 1, 2]
    low = columns['a "b".c'].min
    assert isinstance(low, float)
    assert low < -10
    assert columns["at"].type == "timestamp"
    assert not columns["amount"].null


def test_a_column_with_a_few_odd_cells_stays_a_number(box: Box, tmp_path: Path) -> None:
    rows = _rows()
    rows[5]["size"] = "n/a"
    (tmp_path / "raw").mkdir()
    _write(tmp_path / "raw" / "rows.csv", rows)
    report = _init(tmp_path, "amount")
    assert load_project(report.folder).declaration.data.contract.columns["size"].type == "bigint"
    assert "1 cannot be parsed" in _why(report)["bad rows"]
    outcome = check(box, load_project(report.folder))
    assert outcome.verdict.rows_rejected == 1


def test_nothing_existing_is_overwritten_and_nothing_half_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "made-flag"
    folder.mkdir()
    (folder / "train.py").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        _init(tmp_path, "flag")
    assert [path.name for path in folder.iterdir()] == ["train.py"]
    (folder / "train.py").rename(folder / "other.py")
    report = _init(tmp_path, "flag")
    assert (folder / "other.py").read_text() == "mine"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        *report.files,
        "other.py",
    }
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".made")]


@pytest.mark.parametrize(
    ("target", "time", "error", "said"),
    [
        ("flagg", None, SourceError, "no column 'flagg'"),
        ("flag", "att", SourceError, "no column 'att'"),
        ("flag", "size", SourceError, "no times"),
        ("always", None, TrainingError, "one value only"),
        ("note", None, TrainingError, "is a text with 400 values"),
        ("at", None, TrainingError, "holds times"),
    ],
)
def test_what_cannot_be_learnt_is_told_and_writes_nothing(
    tmp_path: Path, target: str, time: str | None, error: type[BoxError], said: str
) -> None:
    with pytest.raises(error, match=said):
        _init(tmp_path, target, time=time)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize("name", ["../evil", "A", "", "a/b", "x" * 65, "a\n"])
def test_a_name_that_could_be_a_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not allowed"):
        init_project(tmp_path / "p", source=tmp_path / "d.csv", name=name, target="y")
    assert list(tmp_path.iterdir()) == []


def test_the_written_test_passes_and_the_estimator_fits(tmp_path: Path) -> None:
    import importlib.util

    report = _init(tmp_path, "kind")
    spec = importlib.util.spec_from_file_location("made_test", report.folder / "tests/test_project.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.test_the_data_pass_their_contract(tmp_path)
    module.test_the_estimator_can_be_built()


@pytest.mark.parametrize(
    "value", ['a"b\\c\n\t\x7f\x00é☃', 3, 0.5, -1e300, True, ["x", 1], {"a b": 1, "c": ["d"]}]
)
def test_every_value_survives_being_written(value: Any) -> None:
    assert tomllib.loads(f"v = {toml(value)}")["v"] == value
