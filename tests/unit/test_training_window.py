"""Which rows a retraining learns from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from mlops_box.errors import ProjectError
from mlops_box.monitoring.decisions import Decision
from mlops_box.operations.training_window import choose_rows
from mlops_box.project import Project, parse_project

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 100


def project(window: str, *, time: bool = True, rows: int = 1) -> Project:
    return parse_project(
        f"""
[project]
name = "rates"
[data]
source = "rates.csv"
{'time = "at"' if time else ""}
[data.contract]
a = {{ type = "double" }}
rows = {{ min = {rows} }}
[model]
task = "regression"
target = "b"
features = ["a"]
[monitor]
min_rows = 10
[retrain]
window = "{window}"
"""
    )


def table() -> pa.Table:
    times = [START + timedelta(days=day) for day in range(DAYS)]
    return pa.table(
        {"at": pa.array(times, pa.timestamp("us", tz="UTC")), "a": [float(n) for n in range(DAYS)]}
    )


def decision(**facts: Any) -> Decision:
    return Decision(
        "d", "k", "p", "m", None, "drift", "auto", "retrain", "pending", "seen", facts, None, START, START
    )


def test_expanding_learns_from_all_rows() -> None:
    chosen = choose_rows(table(), project("expanding"), decision(since="2026-02-01T00:00:00.000Z"))
    assert (chosen.table.num_rows, chosen.since, chosen.note) == (DAYS, None, None)


def test_sliding_counts_back_from_the_newest_row() -> None:
    chosen = choose_rows(table(), project("sliding:30d"), None)
    assert chosen.since == START + timedelta(days=DAYS - 1 - 30)
    assert chosen.table["a"].to_pylist() == [float(n) for n in range(69, DAYS)]


def test_since_drift_learns_from_the_rows_since_it_began() -> None:
    chosen = choose_rows(table(), project("since-drift"), decision(since="2026-02-01T00:00:00.000Z"))
    assert chosen.table["a"].to_pylist()[0] == 31.0
    assert chosen.to_dict("since-drift")["since"] == "2026-02-01T00:00:00.000Z"


def test_too_few_rows_since_the_drift_fall_back_to_all_and_say_so() -> None:
    late = decision(since="2026-04-05T00:00:00.000Z")
    chosen = choose_rows(table(), project("since-drift"), late)
    assert chosen.table.num_rows == DAYS
    assert chosen.note is not None
    assert "only 6 since" in chosen.note
    assert "10 are needed" in chosen.note
    by_contract = choose_rows(
        table(), project("since-drift", rows=80), decision(since="2026-02-01T00:00:00.000Z")
    )
    assert by_contract.table.num_rows == DAYS


def test_without_a_drift_all_rows_are_taken_and_it_is_said() -> None:
    for given in (None, decision(since=None)):
        chosen = choose_rows(table(), project("since-drift"), given)
        assert chosen.table.num_rows == DAYS
        assert "no drift says since when" in str(chosen.note)


def test_a_window_without_event_time_is_refused_when_it_is_declared() -> None:
    with pytest.raises(ProjectError, match="needs the event time"):
        project("sliding:30d", time=False)
