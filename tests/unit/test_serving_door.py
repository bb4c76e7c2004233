"""Rows at the online door, ground truth, and what is read from a model's output."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_box.errors import UsageError
from mlops_box.models.runtime import Output
from mlops_box.models.values import Signature
from mlops_box.project import parse_project
from mlops_box.serving.answers import Reader
from mlops_box.serving.columns import Columns
from mlops_box.serving.door import Door, parse_object
from mlops_box.serving.door_rules import door_rules
from mlops_box.serving.problems import ContractViolation
from mlops_box.serving.truth import TruthReader

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from serving_kit import FAILS, RATE, RATE_PROJECT

ID = "0123456789abcdefghjkmn-0000000a"


@pytest.fixture
def door() -> Door:
    return Door(RATE, door_rules(parse_project(RATE_PROJECT)))


def problems(door: Door, *rows: Any) -> list[dict[str, Any]]:
    with pytest.raises(ContractViolation) as refused:
        door.check(rows)
    found = refused.value.details["problems"]
    assert isinstance(found, list)
    return found


def test_features_and_other_known_columns_pass(door: Door) -> None:
    door.check([{"a": 1.0, "b": None, "at": "2026-01-01T00:00:00Z", "shift": "n", "rate": 3}, {"a": 5}])


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"a": 101.0, "b": 1.0}, "a.max"),
        ({"b": 1.0}, "a.null"),
        ({"a": None, "b": 1.0}, "a.null"),
        ({"a": "5", "b": 1.0}, "a.type"),
        ({"a": [1], "b": 1.0}, "a.type"),
        ({"a": 1.0, "c": 1.0}, "unknown_column"),
        ({"a": 1.0, "at": "yesterday"}, "at.type"),
        ({"a": 1.0, "at": 17}, "at.type"),
        ([1.0, 2.0], "row.type"),
        (None, "row.type"),
    ],
)
def test_a_bad_row_names_its_rule(door: Door, row: Any, rule: str) -> None:
    found = problems(door, {"a": 1.0}, row)
    assert [(problem["row"], problem["rule"]) for problem in found] == [(1, rule)]


def test_a_misspelt_column_gets_the_nearest_known_one(door: Door) -> None:
    (problem,) = problems(Door(RATE), {"a": 1.0, "b": 2.0, "rat": 3.0})
    assert problem["hint"] == "did you mean 'rate'?"


def test_the_list_of_problems_is_bounded_but_the_count_is_true(door: Door) -> None:
    with pytest.raises(ContractViolation, match=r"and 499 more") as refused:
        door.check([{"a": -1.0}] * 500)
    assert len(refused.value.details["problems"]) == 20  # type: ignore[arg-type]


def test_no_rows_and_too_many_rows_are_refused(door: Door) -> None:
    with pytest.raises(UsageError, match="no row"):
        door.check([])
    with pytest.raises(UsageError, match="more than the 1024"):
        door.check([{"a": 1.0}] * 1025)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"17", b'{"rows": [{"a": NaN}]}', b'{"rows": [{"a": Infinity}]}', b'{"row": []}', b"{}",
        b'{"rows": [], "x": 1}', b"\xff\xfe", b"[" * 100_000,
    ],
)  # fmt: skip
def test_only_strict_json_of_one_form_is_read(body: bytes) -> None:
    with pytest.raises(UsageError):
        parse_object(body, allowed=("rows",))


def test_values_that_are_not_finite_are_answered_as_null_and_say_so() -> None:
    reader = Reader(RATE)
    answers = reader.read(Output(prediction=np.array([1.0, np.nan, np.inf], dtype=np.float32)))
    assert answers.predictions == [1.0, None, None]
    assert answers.outcome == "not_finite"
    assert answers.part(0, 1).outcome == "ok"
    assert answers.part(1, 3).outcome == "not_finite"


def test_classes_come_back_in_their_own_type() -> None:
    output = Output(
        label=np.array([1, 0]), probability=np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32)
    )
    answers = Reader(FAILS).read(output)
    assert answers.predictions == [True, False]
    assert answers.labels == ["true", "false"]
    assert answers.numbers == [0.75, 0.5]


@pytest.mark.parametrize("value", [True, 1, 1.0, "true", "True", " TRUE ", "1"])
def test_a_class_is_recognised_in_its_spellings(value: object) -> None:
    signature = FAILS if value not in ("1",) else Signature("binary", "y", (), (0, 1))
    truth = TruthReader(signature).read(ID, value)
    assert truth.text == ("true" if signature is FAILS else "1")
    assert truth.number == 1.0


@pytest.mark.parametrize("value", ["", "maybe", None, [1], {"a": 1}, 2])
def test_what_is_no_class_is_no_truth(value: object) -> None:
    with pytest.raises(UsageError, match="no class"):
        TruthReader(FAILS).read(ID, value)


@pytest.mark.parametrize("value", ["abc", "nan", float("inf"), None, "1e999"])
def test_a_regression_truth_is_a_finite_number(value: object) -> None:
    with pytest.raises(UsageError, match="no truth"):
        TruthReader(RATE).read(ID, value)
    assert TruthReader(RATE).read(ID, "3.50").number == 3.5


def test_truths_are_read_all_or_none_and_the_wrong_ones_are_named() -> None:
    with pytest.raises(ContractViolation) as refused:
        TruthReader(RATE).read_all([(ID, 1.0), ("no-id", 1.0), (ID, "x")])
    found = refused.value.details["problems"]
    assert [(p["row"], p["rule"]) for p in found] == [(1, "truth.id"), (2, "truth.value")]  # type: ignore[union-attr]


def column_problems(door: Door, columns: Columns) -> list[tuple[int, str]]:
    with pytest.raises(ContractViolation) as refused:
        door.check_columns(columns)
    return [(problem["row"], problem["rule"]) for problem in refused.value.details["problems"]]


def test_columns_pass_and_fail_as_rows_do(door: Door) -> None:
    times = np.array(["2026-01-01T00:00:00Z", "2026-01-02"], dtype=object)
    good = {"a": np.array([1, 5]), "b": np.array([np.nan, 2.0]), "at": times, "rate": np.array(["x", "y"])}
    door.check_columns(Columns(2, good))
    door.check_columns(Columns(2, {"a": np.array([1.0, 5.0], dtype=np.float32)}))
    bad = {
        "a": np.array([np.nan, 101.0]),
        "b": np.array([np.inf, 1.0]),
        "at": np.array(["x", "y"], dtype=object),
    }
    assert column_problems(door, Columns(2, bad)) == [
        (0, "at.type"), (0, "a.null"), (0, "b.finite"), (1, "at.type"), (1, "a.max"),
    ]  # fmt: skip
    assert column_problems(door, Columns(1, {"c": np.array([1.0]), "a": np.array([True])})) == [
        (0, "unknown_column"),
        (0, "a.type"),
    ]
    assert column_problems(door, Columns(2, {"b": np.array([1.0, 2.0])})) == [(0, "a.null"), (1, "a.null")]


def test_a_matrix_passes_and_fails_as_rows_do(door: Door) -> None:
    door.check_columns(Columns(2, {}, np.array([[1, np.nan], [100, 3]], dtype=np.float32)))
    matrix = np.array([[np.nan, np.inf], [1, 1], [-1, 1]], dtype=np.float32)
    assert column_problems(door, Columns(3, {}, matrix)) == [(0, "a.null"), (0, "b.finite"), (2, "a.min")]


@pytest.mark.parametrize(
    "columns",
    [
        Columns(0, {}),
        Columns(2000, {"a": np.zeros(2000)}),
        Columns(2, {"a": np.zeros(3)}),
        Columns(2, {"a": np.zeros((2, 2))}),
        Columns(1, {}, np.zeros((1, 3), dtype=np.float32)),
        Columns(2, {}, np.zeros((1, 2), dtype=np.float32)),
        Columns(1, {}, np.zeros((1, 2))),  # type: ignore[arg-type]
        Columns(1, {"a": np.zeros(1)}, np.zeros((1, 2), dtype=np.float32)),
    ],
    ids=["none", "too many", "longer", "deep", "wide", "short", "float64", "both"],
)
def test_columns_that_are_no_table_are_refused(door: Door, columns: Columns) -> None:
    with pytest.raises(UsageError):
        door.check_columns(columns)


def test_many_unknown_names_are_counted_and_a_few_are_told(door: Door) -> None:
    names = {f"column_{index}": 1.0 for index in range(50_000)} | {"x" * 1_000_000: 1.0}
    columns = Columns(1, {name: np.ones(1) for name in list(names)[:30]})
    for check in (lambda: door.check([{"a": 1.0, **names}]), lambda: door.check_columns(columns)):
        with pytest.raises(ContractViolation) as caught:
            check()
        problems: Any = caught.value.details["problems"]
        assert len(problems) == 20
        assert all(len(problem["message"]) < 200 and problem["hint"] for problem in problems)


def test_a_matrix_cannot_carry_text() -> None:
    with pytest.raises(UsageError, match="not all of the model's features are numbers"):
        Door(FAILS).check_columns(Columns(1, {}, np.zeros((1, 2), dtype=np.float32)))
