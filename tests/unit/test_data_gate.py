"""The gate: rows in are good, quarantined or rejected; a refused batch leaves only its refusal; same data, same id."""

from __future__ import annotations

import hashlib
import json
import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_case import admit, footprint, project_over

from mlops_box.box import Box
from mlops_box.clock import FixedClock
from mlops_box.data import gate as gate_module
from mlops_box.errors import (
    IntegrityError,
    NotFoundError,
    ProjectError,
    RefusedError,
    SourceError,
    TrainingError,
)
from mlops_box.operations.check import check, take_snapshot

X = {"x": {"type": "double", "min": 0, "max": 10}}


def _parquet(path: Path, **columns: Any) -> None:
    pq.write_table(pa.table(columns), path)


def _dirty(folder: Path) -> None:
    x = [1.0, 2.0, math.nan, math.inf, -math.inf, None, -1.0, 11.0, 3.0, 4.0]
    _parquet(folder / "d.parquet", id=[1, 2, 3, 4, 5, 6, 7, 8, 1, 10], x=x, y=list(range(10)))


def test_each_bad_row_goes_to_quarantine_with_the_rules_it_broke(box: Box, tmp_path: Path) -> None:
    _dirty(tmp_path)
    admission = admit(box, project_over(tmp_path, "d.parquet", contract={**X, "quarantine": 0.8}, key=["id"]))
    quarantine = box.snapshots.quarantine(admission.snapshot)
    assert quarantine is not None
    broken = {row["_row"]: row["_rules"] for row in quarantine.to_pylist()}
    assert broken == {
        3: ["x.null"], 4: ["x.finite", "x.max"], 5: ["x.finite", "x.min"], 6: ["x.null"], 7: ["x.min"],
        8: ["x.max"], 9: ["key.unique"],
    }  # fmt: skip
    verdict = admission.verdict
    assert (verdict.rows_in, verdict.rows_good, verdict.rows_quarantined, verdict.rows_rejected) == (
        10,
        3,
        7,
        0,
    )
    assert {hit.rule: hit.rows for hit in verdict.row_rules} == {
        "x.null": 2, "x.max": 2, "x.min": 2, "x.finite": 2, "key.unique": 1,
    }  # fmt: skip
    assert next(hit for hit in verdict.row_rules if hit.rule == "key.unique").examples == (
        {"row": 9, "id": 1},
    )
    assert box.snapshots.table(admission.snapshot)["id"].to_pylist() == [1, 2, 10]


def test_nan_passes_as_missing_where_missing_may_be_and_infinities_never_do(box: Box, tmp_path: Path) -> None:
    _dirty(tmp_path)
    contract = {"x": {"type": "double", "null": True}, "quarantine": 0.5}
    admission = admit(box, project_over(tmp_path, "d.parquet", contract=contract))
    assert [hit.rule for hit in admission.verdict.row_rules] == ["x.finite"]
    assert box.snapshots.table(admission.snapshot)["x"].null_count == 2


def test_a_refused_batch_leaves_its_refusal_and_nothing_else(box: Box, tmp_path: Path) -> None:
    _dirty(tmp_path)
    before = footprint(box)
    with pytest.raises(RefusedError) as caught:
        admit(box, project_over(tmp_path, "d.parquet", contract=X, key=["id"]))
    assert footprint(box) == before
    assert caught.value.exit_code == 3
    for said in (
        "quarantine.share: 7 of 10 rows are bad (70.00%), at most 1.00% may be",
        "x.max: 2 rows, for example row 4: x = 'inf'; row 8: x = 11.0",
        "x.null: 2 rows",
    ):
        assert said in caught.value.message
    refusal = box.snapshots.refusals("case")[0]
    assert refusal.id == caught.value.details["refusal_id"]
    assert (refusal.verdict.accepted, refusal.verdict.rows_in) == (False, 10)
    assert (
        refusal.lineage["files"][0]["sha256"]
        == hashlib.sha256((tmp_path / "d.parquet").read_bytes()).hexdigest()
    )
    assert box.ledger.entries(limit=1)[0].act == "snapshot.refuse"
    assert box.ledger.first_broken() is None


def test_the_same_data_twice_are_one_snapshot_and_one_ledger_entry(box: Box, tmp_path: Path) -> None:
    _parquet(tmp_path / "d.parquet", x=[1.0, 2.0], y=[1, 2])
    project = project_over(tmp_path, "d.parquet", contract=X)
    first = admit(box, project)
    again = admit(box, project)
    assert (first.new, again.new) == (True, False)
    assert again.snapshot == first.snapshot
    assert [entry.act for entry in box.ledger.entries()] == ["snapshot.mint"]
    assert len(box.snapshots.list("case")) == 1
    assert first.snapshot.id == hashlib.sha256(box.snapshots.path(first.snapshot).read_bytes()).hexdigest()


@pytest.mark.parametrize("declared", [{"key": ["id"]}, {"time": "at"}, {"key": ["id"], "time": "at"}])
def test_keyed_or_timed_data_in_another_order_are_the_same_snapshot(
    box: Box, tmp_path: Path, declared: dict[str, Any]
) -> None:
    rows = [
        {
            "id": n,
            "at": datetime(2020, 1, 1) + timedelta(hours=n // 3),
            "x": float(n % 5),
            "y": n,
            "w": f"w{n % 7}",
        }
        for n in range(500)
    ]
    ids = set()
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "d.parquet", row_group_size=50 + seed)
        ids.add(admit(box, project_over(tmp_path, "d.parquet", contract=X, **declared)).snapshot.id)
    assert len(ids) == 1


def test_without_key_and_time_rows_stay_as_delivered(box: Box, tmp_path: Path) -> None:
    order = list(range(150_000))
    random.Random(0).shuffle(order)
    _parquet(tmp_path / "d.parquet", x=[1.0] * len(order), y=order)
    found = admit(
        box, project_over(tmp_path, "d.parquet", contract={**X, "y": {"type": "bigint", "unique": True}})
    )
    assert box.snapshots.table(found.snapshot)["y"].to_pylist() == order


def test_two_projects_with_the_same_data_have_a_snapshot_each(box: Box, tmp_path: Path) -> None:
    _parquet(tmp_path / "d.parquet", x=[1.0, 2.0], y=[1, 2])
    ids = {admit(box, project_over(tmp_path, "d.parquet", name=name)).snapshot.id for name in ("one", "two")}
    assert len(ids) == 2
    assert box.snapshots.latest("one") != box.snapshots.latest("two")


def test_every_bit_of_many_rules_finds_its_rule(box: Box, tmp_path: Path) -> None:
    wide = 150
    rows = [{f"c{n}": (None if n == row else 0.5) for n in range(wide)} | {"y": row} for row in range(wide)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "d.parquet")
    contract = {f"c{n}": {"type": "double", "min": 0} for n in range(wide)}
    with pytest.raises(RefusedError) as caught:
        admit(box, project_over(tmp_path, "d.parquet", contract=contract, features=["c0"]))
    verdict = caught.value.details["verdict"]
    assert isinstance(verdict, dict)
    hits = {hit["rule"]: hit["examples"][0]["row"] for hit in verdict["row_rules"]}
    assert hits == {f"c{n}.null": n + 1 for n in range(wide)}


def _refused_by(box: Box, project: Any) -> list[str]:
    with pytest.raises(RefusedError) as caught:
        admit(box, project)
    verdict = caught.value.details["verdict"]
    assert isinstance(verdict, dict)
    return [check["rule"] for check in verdict["batch_checks"] if not check["ok"]]


def test_too_few_and_too_many_rows_are_refused(box: Box, tmp_path: Path) -> None:
    _parquet(tmp_path / "d.parquet", x=[1.0, 2.0, 3.0], y=[1, 2, 3])
    assert _refused_by(box, project_over(tmp_path, "d.parquet", contract={"rows": {"min": 4}})) == [
        "rows.min"
    ]
    assert _refused_by(box, project_over(tmp_path, "d.parquet", contract={"rows": {"max": 2}})) == [
        "rows.max"
    ]


def test_a_header_alone_is_refused(box: Box, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("x,y\n")
    assert _refused_by(box, project_over(tmp_path, "d.csv", contract=X)) == ["rows.min"]


def test_old_data_are_refused_when_freshness_is_asked(tmp_path: Path) -> None:
    clock = FixedClock(datetime(2026, 1, 10, tzinfo=UTC))
    _parquet(tmp_path / "d.parquet", x=[1.0], y=[1], at=pa.array([datetime(2026, 1, 8)], pa.timestamp("us")))
    with Box.open(tmp_path / "home", clock=clock) as box:
        fresh = project_over(tmp_path, "d.parquet", contract={"freshness": "3d"}, time="at")
        found = admit(box, fresh).snapshot
        assert found.time_min == found.time_max == datetime(2026, 1, 8, tzinfo=UTC)
        clock.advance(timedelta(days=2))
        assert _refused_by(box, fresh) == ["freshness"]
        with pytest.raises(ProjectError, match="needs a time column"):
            admit(box, project_over(tmp_path, "d.parquet", contract={"freshness": "3d"}))


def test_a_jump_of_missing_values_or_new_words_since_the_last_snapshot_is_refused(
    box: Box, tmp_path: Path
) -> None:
    contract = {"x": {"type": "double", "null": True}, "w": {"type": "varchar", "null": True}}
    project = project_over(tmp_path, "d.parquet", contract=contract)
    _parquet(tmp_path / "d.parquet", x=[1.0] * 20, y=list(range(20)), w=["a", "b"] * 10)
    admit(box, project)
    _parquet(
        tmp_path / "d.parquet",
        x=[None, None, None] + [1.0] * 17,
        y=list(range(20)),
        w=["a", "b"] * 9 + ["a", "c"],
    )
    assert _refused_by(box, project) == ["x.null_rate"]
    _parquet(tmp_path / "d.parquet", x=[1.0] * 20, y=list(range(20)), w=["a", "b"] * 9 + ["c", "c"])
    assert _refused_by(box, project) == ["w.new_categories"]
    _parquet(tmp_path / "d.parquet", x=[None] + [1.0] * 19, y=list(range(20)), w=["a", "b"] * 9 + ["b", "c"])
    assert admit(box, project).new


def test_a_target_that_cannot_be_learnt_mints_nothing(box: Box, tmp_path: Path) -> None:
    before = footprint(box)
    _parquet(
        tmp_path / "d.parquet", x=[1.0, 2.0], y=pa.array([None, None], pa.float64()), one=[1, 1], three=[1, 2]
    )
    for wrong, target, task in (
        ("missing in every row", "y", "regression"),
        ("one class only", "one", "binary"),
    ):
        with pytest.raises(TrainingError, match=wrong):
            admit(box, project_over(tmp_path, "d.parquet", target=target, task=task))
    _parquet(tmp_path / "d.parquet", x=[1.0, 2.0, 3.0], y=[1, 2, 3])
    with pytest.raises(TrainingError, match="3 classes"):
        admit(box, project_over(tmp_path, "d.parquet", task="binary"))
    assert footprint(box) == before


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"type": "varchar", "min": 1}, "make no sense"),
        ({"type": "double", "regex": "a"}, "needs type varchar"),
        ({"type": "double", "min": "low"}, "is no number"),
        ({"type": "timestamp", "max": "tomorrow"}, "is no timestamp"),
        ({"type": "bigint", "in": [1, 2.5]}, "is no bigint"),
    ],
)
def test_a_rule_that_its_type_cannot_have_is_told(
    box: Box, tmp_path: Path, rule: dict[str, Any], said: str
) -> None:
    (tmp_path / "d.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ProjectError, match=said):
        admit(box, project_over(tmp_path, "d.csv", contract={"x": rule}))


def test_evidence_columns_cannot_be_taken_by_the_data(box: Box, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("x,y,_rules\n1,2,3\n")
    with pytest.raises(SourceError, match="reserved"):
        admit(box, project_over(tmp_path, "d.csv"))


def test_a_file_that_is_written_to_meanwhile_is_refused(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d.csv").write_text("x,y\n1,2\n")
    sift = gate_module.sift

    def slow(*arguments: Any, **options: Any) -> Any:
        found = sift(*arguments, **options)
        with (tmp_path / "d.csv").open("a") as file:
            file.write("3,4\n")
        return found

    monkeypatch.setattr(gate_module, "sift", slow)
    before = footprint(box)
    with pytest.raises(SourceError, match="changed while it was read"):
        admit(box, project_over(tmp_path, "d.csv"))
    assert footprint(box) == before


def test_a_crash_before_the_row_is_written_leaves_no_snapshot_and_the_next_try_makes_it(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d.csv").write_text("x,y\n1,2\n")
    project = project_over(tmp_path, "d.csv")

    def dies(*_: Any) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(box.ledger, "append", dies)
        with pytest.raises(KeyboardInterrupt):
            admit(box, project)
    assert box.snapshots.list() == []
    assert list(box.home.scratch.iterdir()) == []
    assert admit(box, project).new


def test_names_that_look_like_sql_or_paths_are_only_names(box: Box, tmp_path: Path) -> None:
    odd = ['a"b', "a'b; drop table x", "a.b", "naïve ☃", "row", "select", "m0", "v0", "raw", "mlops_box"]
    row = dict.fromkeys(odd, 1.0) | {"y": 1}
    (tmp_path / "d.jsonl").write_text(json.dumps(row) + "\n")
    contract = {column: {"type": "double", "min": 0} for column in odd}
    found = admit(box, project_over(tmp_path, "d.jsonl", contract=contract, features=odd)).snapshot
    assert box.snapshots.table(found, ["a.b", "y"]).to_pylist() == [{"a.b": 1.0, "y": 1}]


def test_a_damaged_snapshot_is_not_read(box: Box, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("x,y\n1,2\n")
    found = admit(box, project_over(tmp_path, "d.csv")).snapshot
    path = box.snapshots.path(found)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(IntegrityError, match="is damaged"):
        box.snapshots.table(found)


def test_snapshots_are_found_by_a_beginning_of_their_id(box: Box, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("x,y\n1,2\n")
    found = admit(box, project_over(tmp_path, "d.csv")).snapshot
    assert box.snapshots.get(found.id[:8]) == found == box.snapshots.latest("case")
    for wrong in ("", "zz", "%"):
        with pytest.raises(NotFoundError):
            box.snapshots.get(wrong)
    with pytest.raises(NotFoundError, match="no column 'z'"):
        box.snapshots.table(found, ["z"])


def test_check_records_a_run_and_training_takes_the_same_snapshot(box: Box, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("x,y\n1,2\n3,4\n")
    project = project_over(tmp_path, "d.csv", contract=X)
    outcome = check(box, project)
    run = box.runs.get(outcome.run_id)
    assert (run.state, run.result) == (
        "completed",
        {"snapshot_id": outcome.snapshot.id, "new": True, "rows": 2},
    )
    assert take_snapshot(box, project).id == outcome.snapshot.id
    assert box.projects.get("case").folder == tmp_path
    assert json.loads(json.dumps(outcome.to_dict()))["verdict"]["rows_in"] == 2
    (tmp_path / "d.csv").write_text("x,y\n-1,2\n3,4\n")
    with pytest.raises(RefusedError):
        check(box, project)
    assert box.runs.list(kind="check", limit=1)[0].state == "refused"
