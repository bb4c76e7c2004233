"""One contract, two doors: the SQL of the gate and the Python of the endpoint give the same verdicts."""

from __future__ import annotations

import json
import math
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mlops_box.data.contract import compile_contract
from mlops_box.data.engine import engine
from mlops_box.data.rows import RowContract
from mlops_box.data.sift import sift
from mlops_box.data.source import locate, open_source, readable_files
from mlops_box.project import Contract

CONTRACT = Contract.model_validate(
    {
        "flag": {"type": "boolean"},
        "maybe": {"type": "boolean", "null": True, "in": [True]},
        "count": {"type": "bigint", "min": -3, "max": 10},
        "level": {"type": "bigint", "null": True, "in": [1, 2, 3]},
        "share": {"type": "double", "min": 0, "max": 1},
        "any number": {"type": "double", "null": True},
        "word": {"type": "varchar", "regex": "[a-zé]+.?"},
        "name": {"type": "varchar", "null": True, "in": ["a", "ä", "it's", "", "\0"]},
        "digits": {"type": "varchar", "null": True, "regex": r"\d+|\w\s\w|[^x]y"},
        "at": {"type": "timestamp", "min": "2000-01-01", "max": "2030-01-01T00:00:00Z"},
        "day": {"type": "date", "null": True, "min": "2000-02-28", "in": ["2020-02-29", "1999-01-01"]},
        "then": {"type": "timestamp", "null": True, "in": ["2020-01-01", "2020-01-01T01:00:00+01:00"]},
    }
)

_ODD = st.sampled_from(
    [None, True, False, 0, 1, -1, 3, 3.0, 3.5, 1e308, -0.0, math.nan, math.inf, -math.inf, 2**53 + 1, 2**63 - 1, 2**63,
     -(2**63), -(2**63) - 1, 2**64, 9223372036854775807.0, "", "a", "A", "ä", "it's", "3", "true", "NaN", "null", "\0",
     "a\n", "٣", "3\n", "a b", "é", "éa", "2020-01-01", "2020-02-29", "2019-02-29", "1999-01-01", "0000-01-01",
     "0001-01-01T00:00+01:00", "9999-12-31T23:59:59-01:00", "2020-01-01T00:00:00Z", "2020-01-01 00:00",
     "2020-01-01T01:00:00+01:00", "2020-01-01T24:00:00", "2020-01-01T00:00:60", "2020-01-01T00:00:00.1234567",
     "2020-01-01T00:00:00.123456", "2020-01-01T00", "20200101", "2020-13-01", "2020-01-01Z", " 2020-01-01",
     "2020-01-01T00:00:00+0100", "2020-01-01T10:00:00-14:59", "٢٠٢٠-01-01", [1], {"x": 1}, []]
)  # fmt: skip
_VALUE = st.one_of(
    _ODD,
    st.floats(width=64),
    st.integers(-(2**70), 2**70),
    st.text(st.characters(codec="utf-8"), max_size=6),
    st.dates().map(lambda day: day.isoformat()),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.datetimes(timezones=st.sampled_from([None])).map(
        lambda moment: (moment.replace(microsecond=0)).isoformat(" ")
    ),
)
_ROW = st.fixed_dictionaries({}, optional=dict.fromkeys(CONTRACT.columns, _VALUE))


def sql_rules(rows: list[dict[str, Any]]) -> list[list[str]]:
    """The rules each row breaks at the gate, given the rows as JSON lines."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        full = [{column: row.get(column) for column in CONTRACT.columns} | {"n": 1} for row in rows]
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in full), encoding="utf-8")
        located = locate("rows.jsonl", folder=folder)
        declared = {column: rule.type for column, rule in CONTRACT.columns.items()}
        with engine(scratch=folder, files=readable_files(located, folder)) as connection:
            relation = open_source(
                connection, located, declared=declared, query=None, table=None, scratch=folder
            )
            compiled = compile_contract(relation, CONTRACT, key=[], time=None, required={})
            found = sift(connection, relation, compiled, folder=folder, key=[], metadata={})
        assert found.rows_in == len(rows) == found.rows_good + found.rows_quarantined
        broken: list[list[str]] = [[] for _ in rows]
        if found.quarantine:
            import pyarrow.parquet as pq

            for item in pq.read_table(found.quarantine).select(["_row", "_rules"]).to_pylist():
                broken[item["_row"] - 1] = item["_rules"]
        return broken


@settings(max_examples=60, deadline=timedelta(seconds=20), suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_ROW, min_size=1, max_size=30))
@example([{"count": 9223372036854775807.0, "at": "0001-01-01T00:00+01:00", "word": "a\n"}])
def test_the_gate_and_the_endpoint_refuse_the_same_rows_under_the_same_rules(
    rows: list[dict[str, Any]],
) -> None:
    online = RowContract(CONTRACT.columns, list(CONTRACT.columns))
    assert sql_rules(rows) == [[problem.rule for problem in online.check(row)] for row in rows]


@pytest.mark.parametrize("column", list(CONTRACT.columns))
def test_every_odd_value_gets_one_verdict_at_both_doors(column: str) -> None:
    values = list(_ODD.elements)  # type: ignore[attr-defined]
    online = RowContract(CONTRACT.columns, [column])
    rows = [{column: value} for value in values]
    at_the_gate = [[rule for rule in broken if rule.startswith(f"{column}.")] for broken in sql_rules(rows)]
    online_rules = [[problem.rule for problem in online.check(row)] for row in rows]
    differing = [
        (value, gate, endpoint)
        for value, gate, endpoint in zip(values, at_the_gate, online_rules, strict=True)
        if gate != endpoint
    ]
    assert not differing
    assert any(at_the_gate)
    assert not all(at_the_gate)
