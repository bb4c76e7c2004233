"""A question to a snapshot reads that snapshot, in bounded time, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from data_case import admit, footprint, project_over

from mlops_box.box import Box
from mlops_box.cli.main import command
from mlops_box.errors import NotFoundError, SourceError, UsageError
from mlops_box.operations.query_snapshot import Answer, query_snapshot


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    folder = tmp_path_factory.mktemp("query")
    lines = "\n".join(f"{x},{x / 2}" for x in range(300))
    (folder / "rows.csv").write_text(f"x,y\n{lines}\n")
    with Box.open(folder / "box") as opened:
        admit(opened, project_over(folder, "rows.csv"))
        yield opened


def ask(box: Box, sql: str, *, time_limit_s: float = 10.0) -> Answer:
    return query_snapshot(box, box.snapshots.list()[0].id[:12], sql, time_limit_s=time_limit_s)


def test_rows_come_in_the_order_of_the_query_and_end_at_the_limit(box: Box) -> None:
    assert ask(box, "select max(y) as top, count(*) from data; -- all").rows == ((149.5, 300),)
    found = ask(box, "select x from data order by x desc")
    assert [row[0] for row in found.rows] == list(range(299, 99, -1))
    assert found.more
    assert not ask(box, "from data limit 200").more


@pytest.mark.parametrize(
    "sql",
    ["delete from data", "create table t as select 1", "copy data to 'out.csv'", "set threads = 1", "attach 'x.db'",
     "install httpfs", "select 1; select 2", "", "explain select 1", "pragma database_list"],
)  # fmt: skip
def test_what_is_not_one_select_is_refused(box: Box, sql: str) -> None:
    before = footprint(box)
    with pytest.raises(UsageError, match="one SELECT"):
        ask(box, sql)
    assert footprint(box) == before


@pytest.mark.parametrize(
    "sql",
    ["select * from read_csv('{home}/rows.csv')", "select * from read_text('/etc/passwd')", "select * from glob('/*')",
     "select * from '{home}/box/box.db'", "select * from read_parquet('https://example.org/x.parquet')",
     "select * from query('select * from read_text(''/etc/passwd'')')"],
)  # fmt: skip
def test_no_other_file_and_no_network_is_reached(box: Box, sql: str) -> None:
    with pytest.raises(SourceError) as refused:
        ask(box, sql.replace("{home}", str(box.home.root.parent)))
    assert "`source`" not in str(refused.value.hint)


def test_a_wrong_column_is_said_in_plain_words(box: Box) -> None:
    with pytest.raises(SourceError, match='"z" not found'):
        ask(box, "select z from data")


def test_what_takes_too_long_is_ended_and_leaves_nothing_behind(box: Box) -> None:
    before = footprint(box)
    with pytest.raises(UsageError, match=r"ended after 0\.3 s"):
        ask(box, "select sum(a.range * b.range) from range(10000000) a, range(10000000) b", time_limit_s=0.3)
    assert footprint(box) == before


def test_an_endless_result_ends_at_the_row_limit(box: Box) -> None:
    assert len(ask(box, "select * from range(1000000000000)").rows) == 200


def test_a_value_that_python_cannot_hold_is_said(box: Box) -> None:
    with pytest.raises(SourceError, match="too large"):
        ask(box, "select interval 100000000 years")


def test_an_unknown_snapshot_is_not_found(box: Box) -> None:
    with pytest.raises(NotFoundError):
        query_snapshot(box, "ffff", "select 1")


def test_the_command_prints_json_that_programs_can_read(box: Box) -> None:
    snapshot = box.snapshots.list()[0].id
    sql = "select 'nan'::double as a, date '2026-01-31' as b, [1, null] as c"
    said = CliRunner().invoke(
        command, ["data", "query", snapshot, sql, "--home", str(box.home.root), "--json"]
    )
    assert json.loads(said.stdout, parse_constant=pytest.fail) == {
        "columns": ["a", "b", "c"],
        "rows": [["nan", "2026-01-31", [1, None]]],
        "more": False,
    }
    refused = CliRunner().invoke(command, ["data", "query", snapshot, "drop view data", "--home", str(box.home.root)])  # fmt: skip
    assert isinstance(refused.exception, UsageError)
