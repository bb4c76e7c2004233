"""The online door says which column broke which rule with which value, and is quick about it."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from mlops_box.data.rows import RowContract
from mlops_box.errors import ProjectError
from mlops_box.project import Contract

CONTRACT = Contract.model_validate(
    {
        "hum": {"type": "double", "min": 0, "max": 1},
        "weather": {"type": "bigint", "in": [1, 2, 3, 4]},
        "word": {"type": "varchar", "null": True, "regex": "[a-z]+"},
        "at": {"type": "timestamp", "null": True, "min": "2020-01-01"},
        "day": {"type": "date", "null": True},
    }
)
ALL = list(CONTRACT.columns)


def test_a_problem_names_rule_column_and_value() -> None:
    problems = RowContract(CONTRACT.columns, ALL).check({"hum": 7.3, "weather": "sunny", "word": "A" * 200})
    assert [problem.rule for problem in problems] == ["hum.max", "weather.type", "word.regex"]
    assert problems[0].message == "hum: 7.3 is above 1.0"
    assert problems[1].message == "weather: 'sunny' is no bigint"
    assert len(problems[2].message) < 140


def test_a_good_row_passes_with_strangers_and_without_what_may_be_missing() -> None:
    assert RowContract(CONTRACT.columns, ALL).check({"hum": 0.5, "weather": 3.0, "extra": object()}) == []


def test_only_the_columns_asked_for_are_checked_and_those_without_rules_may_be_anything() -> None:
    online = RowContract(CONTRACT.columns, ["hum", "unruled"])
    assert online.check({"hum": 1, "weather": 99, "unruled": [1]}) == []
    assert [problem.rule for problem in online.check({})] == ["hum.null"]


def test_python_times_are_times_too() -> None:
    online = RowContract(CONTRACT.columns, ["at", "day"])
    ahead = timezone(timedelta(hours=2))
    for at, day, rules in [
        (datetime(2020, 1, 1), date(2020, 1, 1), []),
        (datetime(2020, 1, 1, 1, tzinfo=ahead), datetime(2020, 1, 1), ["at.min"]),
        (date(2020, 1, 2), datetime(2020, 1, 1, 2, tzinfo=ahead), []),
        (datetime(2021, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, 1), ["day.type"]),
        (datetime.min.replace(tzinfo=ahead), None, ["at.type"]),
    ]:
        assert [problem.rule for problem in online.check({"at": at, "day": day})] == rules


def test_a_contradicting_rule_is_told_before_any_row() -> None:
    with pytest.raises(ProjectError, match="no number"):
        RowContract(Contract.model_validate({"x": {"type": "double", "min": "a"}}).columns, ["x"])


def test_a_row_of_twelve_numbers_takes_microseconds() -> None:
    contract = Contract.model_validate({f"f{n}": {"type": "double", "min": 0, "max": 1} for n in range(12)})
    online = RowContract(contract.columns, list(contract.columns))
    row = {f"f{n}": 0.5 for n in range(12)}
    best = min(_timed(online, row) for _ in range(5))
    assert best < 20e-6


def _timed(online: RowContract, row: dict[str, float]) -> float:
    started = time.perf_counter()
    for _ in range(1000):
        online.check(row)
    return (time.perf_counter() - started) / 1000
