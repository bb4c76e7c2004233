"""Reading sources: every format gives the same rows; what cannot be parsed is told with its line."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pysqlite3.dbapi2 as sqlite
import pytest
from data_case import admit, footprint, project_over

from mlops_box.box import Box
from mlops_box.errors import SourceError

CONTRACT = {"x": {"type": "double"}, "y": {"type": "bigint"}, "word of it": {"type": "varchar", "null": True}}
ROWS = [{"x": 0.5, "y": 1, "word of it": 'ä;,"'}, {"x": 1.0, "y": 2, "word of it": None}]


def _csv(path: Path, delimiter: str = ",", *, start: str = "", end: str = "\n") -> None:
    lines = [
        delimiter.join(["x", "y", "word of it"]),
        delimiter.join(["0.5", "1", '"ä;,"""']),
        delimiter.join(["1.0", "2", ""]),
    ]
    path.write_bytes((start + end.join(lines) + end).encode())


def _write(path: Path) -> None:
    kind = path.name
    if kind == "bom.csv":
        _csv(path, start="\ufeff")
    elif kind == "semicolons.csv":
        _csv(path, ";")
    elif kind == "tabs.tsv":
        _csv(path, "\t")
    elif kind == "bars.txt":
        _csv(path, "|", end="\r\n")
    elif kind == "plain.csv":
        _csv(path)
    elif kind == "rows.parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif kind == "rows.jsonl":
        path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n")
    elif kind == "array.json":
        path.write_text(json.dumps(ROWS, indent=1))
    elif kind == "rows.sqlite":
        connection = sqlite.connect(str(path))
        connection.execute('CREATE TABLE rows (x REAL, y INTEGER, "word of it" TEXT)')
        connection.executemany("INSERT INTO rows VALUES (?, ?, ?)", [tuple(row.values()) for row in ROWS])
        connection.commit()
        connection.close()


@pytest.mark.parametrize(
    "file",
    ["plain.csv", "bom.csv", "semicolons.csv", "tabs.tsv", "bars.txt", "rows.parquet", "rows.jsonl", "array.json",
     "rows.sqlite"],
)  # fmt: skip
def test_every_format_gives_the_same_rows_and_the_same_snapshot(box: Box, tmp_path: Path, file: str) -> None:
    _write(tmp_path / file)
    _write(tmp_path / "plain.csv")
    found = admit(box, project_over(tmp_path, file, contract=CONTRACT)).snapshot
    assert box.snapshots.table(found).to_pylist() == ROWS
    assert found.id == admit(box, project_over(tmp_path, "plain.csv", contract=CONTRACT)).snapshot.id


@pytest.mark.parametrize("file", ["plain.csv", "rows.parquet", "rows.jsonl", "rows.sqlite"])
def test_a_query_sees_typed_columns_and_its_result_is_what_the_contract_checks(
    box: Box, tmp_path: Path, file: str
) -> None:
    _write(tmp_path / file)
    contract = {"y": {"type": "bigint"}, "x": {"type": "double"}, "twice": {"type": "double", "max": 1.5}}
    project = project_over(
        tmp_path,
        file,
        contract={**contract, "quarantine": 0.5},
        query="select *, x * 2 as twice from source -- all;",
    )
    admission = admit(box, project)
    assert box.snapshots.table(admission.snapshot, ["twice"]).to_pylist() == [{"twice": 1.0}]
    assert [hit.rule for hit in admission.verdict.row_rules] == ["twice.max"]


def test_a_glob_reads_its_files_in_the_order_of_their_names(box: Box, tmp_path: Path) -> None:
    for number in (2, 1, 3):
        # Other columns orders and other delimiters are no other data.
        text = f"x,y\n{number}.0,{number}\n" if number != 3 else "y;x\n3;3.0\n"
        (tmp_path / f"part-{number}.csv").write_text(text)
    found = admit(box, project_over(tmp_path, "part-*.csv")).snapshot
    assert box.snapshots.table(found, ["x"])["x"].to_pylist() == [1.0, 2.0, 3.0]
    assert [Path(file["path"]).name for file in found.lineage["files"]] == [
        f"part-{n}.csv" for n in (1, 2, 3)
    ]


def test_unparsable_lines_are_told_with_their_line_column_and_reason(box: Box, tmp_path: Path) -> None:
    lines = [
        "x,y,w",
        "1.0,1,a",
        "",
        "2.0,two,b",
        "3.0,3,c,too many",
        "4.0",
        '5.0,5,"two\nlines"',
        "bad,6,d",
        "7.0,7,e",
    ]
    (tmp_path / "dirty.csv").write_text("\n".join(lines) + "\n")
    contract = {"x": {"type": "double"}, "y": {"type": "bigint"}, "w": {"type": "varchar"}, "quarantine": 0.9}
    admission = admit(box, project_over(tmp_path, "dirty.csv", contract=contract))
    rejects = box.snapshots.rejects(admission.snapshot)
    assert rejects is not None
    told = [(row["line"], row["column"]) for row in rejects.to_pylist()]
    assert told == [(4, "y"), (5, None), (6, None), (9, "x")]
    assert rejects["reason"][0].as_py() == "'two' is no bigint"
    assert (admission.verdict.rows_in, admission.verdict.rows_good, admission.verdict.rows_rejected) == (
        7,
        3,
        4,
    )


def test_line_numbers_hold_in_a_file_of_many_buffers(box: Box, tmp_path: Path) -> None:
    wrong = {3, 70_001, 199_999}
    with (tmp_path / "long.csv").open("w") as file:
        file.write("x,y,filler\n")
        for number in range(2, 200_002):
            file.write(f"{'oops' if number in wrong else number},1,{'f' * 100}\n")
    admission = admit(box, project_over(tmp_path, "long.csv", contract={"x": {"type": "double"}}))
    rejects = box.snapshots.rejects(admission.snapshot)
    assert rejects is not None
    assert rejects["line"].to_pylist() == sorted(wrong)
    assert admission.verdict.rows_in == 200_000


def test_a_fraction_is_never_rounded_into_an_integer(box: Box, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("x,y\n3.5,1\n3.0,2\n4,3\n9007199254740993,4\n")
    contract = {"x": {"type": "bigint"}, "quarantine": 0.5}
    admission = admit(box, project_over(tmp_path, "d.csv", contract=contract))
    assert box.snapshots.table(admission.snapshot)["x"].to_pylist() == [3, 4, 9007199254740993]
    assert [hit.rule for hit in admission.verdict.row_rules] == ["x.type"]
    with_query = project_over(tmp_path, "d.csv", contract=contract, query="select * from source")
    assert admit(box, with_query).verdict.rows_rejected == 1


def test_broken_json_lines_are_rejected_by_line(box: Box, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(
        '{"x": 1, "y": 1}\n\n{"x": 2,\n[1, 2]\n{"x": "3", "y": 2}\n{"y": 3, "x": 4.5}\n'
    )
    contract = {"x": {"type": "double"}, "quarantine": 0.9}
    admission = admit(box, project_over(tmp_path, "d.jsonl", contract=contract))
    rejects = box.snapshots.rejects(admission.snapshot)
    assert rejects is not None
    assert rejects["line"].to_pylist() == [3, 4]
    quarantine = box.snapshots.quarantine(admission.snapshot)
    assert quarantine is not None
    assert quarantine.select(["_rules", "_raw"]).to_pylist() == [{"_rules": ["x.type"], "_raw": 'x="3"'}]


def test_leading_zeros_stay_text_and_mixed_numbers_become_doubles(box: Box, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(
        "x,y,code,day,at,flag\n1,1,007,2020-01-31,2020-01-31T10:00:00+02:00,true\n2.5,2,123,2020-02-01,2020-01-31 11:00,FALSE\n"
    )
    found = admit(box, project_over(tmp_path, "d.csv")).snapshot
    assert [(column.name, column.type) for column in found.schema] == [
        ("x", "double"), ("y", "bigint"), ("code", "varchar"), ("day", "date"), ("at", "timestamp"), ("flag", "boolean"),
    ]  # fmt: skip
    first = box.snapshots.table(found).to_pylist()[0]
    assert first["at"].isoformat() == "2020-01-31T08:00:00"


BAD: dict[str, tuple[bytes | None, dict[str, Any], str]] = {
    "missing.csv": (None, {}, "there is no file"),
    "empty.csv": (b"", {}, "is empty"),
    "blank.csv": (b"\n\n  \n", {}, "is empty"),
    "garbage.csv": (bytes(range(256)) * 40, {}, "zero bytes"),
    "utf16.csv": ("x,y\n1,2\n".encode("utf-16"), {}, "UTF-16"),
    "latin1.csv": ("größe,y\n1,2\n".encode("latin-1"), {}, "not UTF-8"),
    "no_header.csv": (b"1,2\n3,4\n", {}, "no header"),
    "twice.csv": (b"x,X,y\n1,2,3\n", {}, "two spellings"),
    "unnamed.csv": (b"x,,y\n1,2,3\n", {}, "has no name"),
    "wide.csv": (",".join(f"c{n}" for n in range(5000)).encode() + b"\n", {}, "5000 columns"),
    "broken.parquet": (b"PAR1 this is none PAR1", {}, "no readable Parquet"),
    "broken.sqlite": (b"SQLite format 3\0 but then nothing follows" * 9, {}, "SQLite"),
    "array.jsonl": (b"[1]\n[2]\n", {}, "no JSON object"),
    "data.xlsx": (b"PK", {}, "is not known"),
    "wrong_column.csv": (b"xx,y\n1,2\n", {}, "no column 'x'"),
    "syntax.csv": (b"x,y\n1,2\n", {"query": "selct x from source"}, "syntax error"),
    "unknown.csv": (b"x,y\n1,2\n", {"query": "select z from source"}, "not found"),
    "two_statements.csv": (b"x,y\n1,2\n", {"query": "select 1; select 2"}, "one SELECT"),
    "copy.csv": (b"x,y\n1,2\n", {"query": "copy source to 'stolen.csv'"}, "one SELECT"),
    "attach.csv": (b"x,y\n1,2\n", {"query": "attach 'other.db'"}, "one SELECT"),
    "setting.csv": (b"x,y\n1,2\n", {"query": "set enable_external_access = true"}, "one SELECT"),
    "passwd.csv": (b"x,y\n1,2\n", {"query": "select * from read_csv('/etc/passwd')"}, "Cannot access file"),
    "sniff.csv": (
        b"x,y\n1,2\n",
        {"query": "select 1 as x, length(Delimiter) as y from sniff_csv('/etc/passwd')"},
        "Cannot access file",
    ),
    "text.csv": (b"x,y\n1,2\n", {"query": "select * from read_text('/etc/passwd')"}, "Cannot access file"),
    "listing.csv": (b"x,y\n1,2\n", {"query": "select * from glob('/*')"}, "Cannot access file"),
    "frame.csv": (b"x,y\n1,2\n", {"query": "select * from relation"}, "does not exist"),
    "no_times.csv": (b"x,y\n1,2\n", {"time": "x"}, "holds bigint, no times"),
    "no_key.csv": (b"x,y\n1,2\n", {"key": ["id"]}, "no column 'id'"),
}


@pytest.mark.parametrize("file", BAD)
def test_a_bad_source_gives_one_clear_error_and_changes_nothing(box: Box, tmp_path: Path, file: str) -> None:
    content, data, said = BAD[file]
    if content is not None:
        (tmp_path / file).write_bytes(content)
    before = footprint(box)
    with pytest.raises(SourceError) as caught:
        admit(box, project_over(tmp_path, file, **data))
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert footprint(box) == before
    assert not (tmp_path / "stolen.csv").exists()


def test_a_folder_is_no_source(box: Box, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is a folder"):
        admit(box, project_over(tmp_path, "."))


def test_a_misspelt_column_or_file_is_told_its_nearest(box: Box, tmp_path: Path) -> None:
    (tmp_path / "hours.csv").write_text("humidity,y\n1,2\n")
    with pytest.raises(SourceError) as column:
        admit(box, project_over(tmp_path, "hours.csv", features=["humidty"]))
    assert column.value.hint == "did you mean 'humidity'?"
    with pytest.raises(SourceError) as file:
        admit(box, project_over(tmp_path, "hour.csv"))
    assert file.value.hint == "did you mean hours.csv?"


@pytest.mark.parametrize("name", ["huge.csv", "huge.jsonl"])
def test_ten_gigabytes_without_a_line_end_are_refused_at_once_and_in_little_memory(
    box: Box, tmp_path: Path, name: str
) -> None:
    with (tmp_path / name).open("wb") as file:
        for _ in range(3):
            file.write(b"column," * (1 << 17))
        # Sparse: the rest takes no room on the disk.
        file.truncate(10 * 1000**3)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(SourceError, match="does not end within the first 1 MiB"):
        admit(box, project_over(tmp_path, name))
    assert time.monotonic() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_a_sqlite_file_with_several_tables_asks_which(box: Box, tmp_path: Path) -> None:
    connection = sqlite.connect(str(tmp_path / "two.db"))
    connection.executescript(
        "CREATE TABLE one (x, y); CREATE TABLE two (x, y); INSERT INTO two VALUES (1.5, 2);"
    )
    connection.close()
    with pytest.raises(SourceError) as caught:
        admit(box, project_over(tmp_path, "two.db"))
    assert caught.value.hint is not None
    assert "it has: one, two" in caught.value.hint
    found = admit(box, project_over(tmp_path, "two.db", table="two")).snapshot
    assert box.snapshots.table(found).to_pylist() == [{"x": 1.5, "y": 2}]
    with pytest.raises(SourceError, match="has no table 'three'"):
        admit(box, project_over(tmp_path, "two.db", table="three"))
