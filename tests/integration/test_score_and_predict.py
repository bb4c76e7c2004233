"""Predicting, scoring and feeding back without a server, and from the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from serving_kit import environment, register_fails, register_projects, register_rate, running

from mlops_box.box import Box
from mlops_box.cli.main import main
from mlops_box.errors import BusyError, NotFoundError, RefusedError, SourceError, UsageError
from mlops_box.operations import score as score_module
from mlops_box.operations.feedback import feedback
from mlops_box.operations.predict import predict
from mlops_box.operations.score import score
from mlops_box.serving.problems import ContractViolation

CSV = "\n".join(
    [
        "at,a,b,shift",
        "2026-01-02,3,1,n",
        "2026-01-01,1,2,",
        "2026-01-03,500,2,n",
        "2026-01-04,x,2,n",
        "2026-01-05,2,,d",
    ]
)


@pytest.fixture
def ready(box: Box) -> Box:
    register_projects(box)
    register_rate(box, 2.0, 1.0)
    register_fails(box)
    return box


def run_cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    with pytest.raises(SystemExit) as left:
        main([*arguments, "--json"])
    out = capsys.readouterr().out.strip()
    return int(left.value.code or 0), json.loads(out.splitlines()[-1])


def test_a_prediction_in_process_is_logged_like_one_of_the_server(ready: Box) -> None:
    answer = predict(ready, "rates", [{"a": 1, "b": 2}])
    assert answer.to_dict() == {"model": "rates@1", "predictions": [4.0], "ids": list(answer.ids)}
    ready.predictions.seal()
    table = ready.predictions.predictions("rates")
    assert table["id"].to_pylist() == list(answer.ids)
    assert table["variant"].to_pylist() == ["champion"]


def test_the_server_and_this_process_give_the_same_answer(ready: Box) -> None:
    rows = [{"heat": 10.5, "kind": "m"}, {"heat": 3.0, "kind": "l"}]
    here = predict(ready, "mill", rows).to_dict()
    with running(ready.home.root) as server:
        there = server.predict("mill", *rows)[2]
    assert {**here, "ids": None} == {**there, "ids": None}


def test_a_bad_row_is_refused_in_process_and_nothing_is_logged(ready: Box) -> None:
    with pytest.raises(ContractViolation, match=r"a: -1 is below"):
        predict(ready, "rates", [{"a": -1, "b": 2}])
    ready.predictions.seal()
    assert ready.predictions.predictions("rates").num_rows == 0


def test_truth_is_stored_all_or_none(ready: Box) -> None:
    answer = predict(ready, "rates", [{"a": 1, "b": 2}] * 2)
    with pytest.raises(ContractViolation):
        feedback(ready, "rates", [(answer.ids[0], 1.0), ("nothing", 1.0)])
    ready.predictions.seal()
    assert ready.predictions.truth("rates").num_rows == 0
    assert feedback(ready, "rates", [(answer.ids[0], "4.5")]).stored == 1
    ready.predictions.seal()
    assert ready.predictions.truth("rates")["truth_number"].to_pylist() == [4.5]


def test_scoring_keeps_the_order_and_sets_bad_rows_aside(ready: Box, tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.parquet"
    source.write_text(CSV)
    outcome = score(ready, "rates", source=source, target=target)
    assert (outcome.rows_in, outcome.rows_scored) == (5, 3)
    assert outcome.rows_in == outcome.rows_scored + outcome.rows_quarantined + outcome.rows_rejected
    table = pq.read_table(target)
    assert table["prediction"].to_pylist() == [7.0, 4.0, 4.0]
    assert table["a"].to_pylist() == [3.0, 1.0, 2.0]
    assert set(table["model_version"].to_pylist()) == {"rates@1"}
    assert outcome.rules["a.max"] == 1
    assert outcome.quarantine is not None
    assert outcome.quarantine.exists()
    assert ready.runs.get(outcome.run_id).state == "completed"
    assert not list(ready.home.scratch.glob("score-*"))


def test_a_classifier_scores_into_csv_with_probabilities(ready: Box, tmp_path: Path) -> None:
    source, target = tmp_path / "in.parquet", tmp_path / "out.csv"
    pq.write_table(pa.table({"heat": [12.0, 1.0], "kind": ["m", "l"]}), source)
    score(ready, "mill", source=source, target=target)
    table = pa_csv.read_csv(target)
    assert table["prediction"].to_pylist() == [True, False]
    assert {"probability_false", "probability_true"} <= set(table.column_names)


def test_an_interrupted_score_goes_on_where_it_was(
    ready: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(
        pa.table({"at": ["2026-01-01"] * 95, "a": [float(n) for n in range(95)], "b": [1.0] * 95}), source
    )
    monkeypatch.setattr(score_module, "CHUNK_ROWS", 10)
    real, calls = score_module._with_answers, []

    def dying(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(score_module, "_with_answers", dying)
    with pytest.raises(KeyboardInterrupt):
        score(ready, "rates", source=source, target=target)
    assert not target.exists()
    outcome = score(ready, "rates", source=source, target=target)
    assert outcome.resumed_chunks == 4
    assert pq.read_table(target)["prediction"].to_pylist() == [2.0 * n + 1 for n in range(95)]


@pytest.mark.slow
def test_a_killed_score_ends_with_the_same_bytes_as_an_undisturbed_one(ready: Box, tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    rows = 400_000
    pq.write_table(
        pa.table({"at": ["2026-01-01"] * rows, "a": [n % 100 / 1 for n in range(rows)], "b": [1.0] * rows}),
        source,
    )
    undisturbed, killed = tmp_path / "one.parquet", tmp_path / "two.parquet"
    score(ready, "rates", source=source, target=undisturbed)
    command = [
        sys.executable, "-c", "from mlops_box.cli.main import main; main()", "score", "rates",
        "--in", str(source), "--out", str(killed), "--home", str(ready.home.root), "--json",
    ]  # fmt: skip
    for _ in range(2):
        process = subprocess.Popen(
            command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 30
        while not list(ready.home.scratch.glob("score-*/chunk-*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.wait()
    assert subprocess.run(command, env=environment(), stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert killed.read_bytes() == undisturbed.read_bytes()


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("missing", SourceError), ("empty", SourceError), ("no feature", SourceError), ("bad rows", RefusedError),
        ("suffix", UsageError), ("folder", UsageError), ("itself", UsageError), ("model", NotFoundError),
    ],
)  # fmt: skip
def test_what_cannot_be_scored_leaves_nothing_behind(
    ready: Box, tmp_path: Path, kind: str, error: type[Exception]
) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(CSV)
    model = "rates"
    match kind:
        case "missing":
            source = tmp_path / "nothing.csv"
        case "empty":
            source.write_text("")
        case "no feature":
            source.write_text("at,a\n2026-01-01,1\n")
        case "bad rows":
            source.write_text("at,a,b\n2026-01-01,-5,1\n")
        case "suffix":
            target = tmp_path / "out.xlsx"
        case "folder":
            target = tmp_path / "nowhere" / "out.csv"
        case "itself":
            target = source
        case _:
            model = "rated"
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(error):
        score(ready, model, source=source, target=target)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert list(ready.home.scratch.iterdir()) == []


def test_two_scores_of_the_same_file_at_once_are_refused(ready: Box) -> None:
    work = ready.home.scratch / "score-held"
    with score_module._held(work), pytest.raises(BusyError), score_module._held(work):
        pass


def test_predict_from_the_command_line_in_process_and_through_the_server(
    ready: Box, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["predict", "rates", "--row", '{"a": 1, "b": 2}', "--home", str(ready.home.root)]
    code, answer = run_cli(capsys, *asked)
    assert (code, answer["predictions"]) == (0, [4.0])
    with running(ready.home.root) as server:
        code, answer = run_cli(capsys, *asked)
        assert (code, answer["predictions"]) == (0, [4.0])
        page = server.call("GET", "/metrics")[2]
        assert re.search(r'mlops_box_requests_total\{[^}]*outcome="ok"[^}]*\} 1\.0', page)
        code, answer = run_cli(
            capsys, "predict", "rates", "--row", '{"a": -1}', "--home", str(ready.home.root)
        )
        assert (code, answer["error"]["code"]) == (2, "contract")
        code, answer = run_cli(capsys, "predict", "nope", "--row", '{"a": 1}', "--home", str(ready.home.root))
        assert (code, answer["error"]["code"]) == (2, "not_found")


def test_feedback_from_the_command_line_reads_csv_and_json_lines(
    ready: Box, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ids = predict(ready, "mill", [{"heat": 12.0, "kind": "m"}] * 3).ids
    (tmp_path / "truth.csv").write_text(f"id,value\n{ids[0]},true\n")
    (tmp_path / "truth.jsonl").write_text(json.dumps({"id": ids[1], "value": False}) + "\n")
    home = ["--home", str(ready.home.root)]
    for name in ("truth.csv", "truth.jsonl"):
        assert run_cli(capsys, "feedback", "mill", "--in", str(tmp_path / name), *home)[1]["stored"] == 1
    assert run_cli(capsys, "feedback", "mill", "--id", ids[2], "--value", "1", *home)[1]["stored"] == 1
    ready.predictions.seal()
    truths = {row["id"]: row["truth"] for row in ready.predictions.truth("mill").to_pylist()}
    assert truths == {ids[0]: "true", ids[1]: "false", ids[2]: "true"}
    assert run_cli(capsys, "feedback", "mill", "--id", ids[2], *home)[0] == 2
    assert run_cli(capsys, "feedback", "mill", "--id", ids[2], "--value", "perhaps", *home)[0] == 2


@pytest.mark.parametrize("row", ["{", "[1]", '{"a": NaN}', "17", ""])
def test_a_row_that_is_no_json_object_exits_2(
    ready: Box, capsys: pytest.CaptureFixture[str], row: str
) -> None:
    code, answer = run_cli(capsys, "predict", "rates", "--row", row, "--home", str(ready.home.root))
    assert (code, answer["error"]["code"]) == (2, "usage")


def test_score_from_the_command_line(ready: Box, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(CSV)
    out = tmp_path / "out.csv"
    files = ["--in", str(tmp_path / "in.csv"), "--out", str(out)]
    code, facts = run_cli(capsys, "score", "rates", *files, "--home", str(ready.home.root))
    assert (code, facts["rows_scored"]) == (0, 3)
    assert os.path.getsize(out) > 0
