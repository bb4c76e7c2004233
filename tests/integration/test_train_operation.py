"""Training whole: real data through the gate, real models, real gates, real files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from train_kit import edit, write_churn, write_houses

from mlops_box.box import Box
from mlops_box.cli.runs import command as runs_command
from mlops_box.errors import BusyError, GateError, ProjectError, RefusedError, TrainingError, UsageError
from mlops_box.evaluation.metrics import compute_metrics
from mlops_box.models.encode_tables import encode_table
from mlops_box.models.golden import Golden, check_golden
from mlops_box.models.runtime import OnnxModel
from mlops_box.models.values import (
    CARD_FILE,
    EVALUATION_FILE,
    GOLDEN_FILE,
    PACKED_FILE,
    PROFILE_FILE,
    REFERENCE_FILE,
    ModelVersion,
)
from mlops_box.monitoring.profile import summarize_profile
from mlops_box.monitoring.reference import PREDICTION, Reference
from mlops_box.operations.steps import DirectSteps
from mlops_box.operations.train import train
from mlops_box.operations.views import version_detail
from mlops_box.run_log import read_tail

T = TypeVar("T")
STEPS = ["snapshot", "split", "fit", "evaluate", "explain", "register", "promote"]


def load(box: Box, version: ModelVersion) -> OnnxModel:
    return OnnxModel(box.models.file(version, PACKED_FILE), version.signature)


def test_what_the_training_function_prints_is_in_the_runs_log(box: Box, tmp_path: Path) -> None:
    project = write_houses(tmp_path / "houses")
    code = project.folder / "train.py"
    code.write_text(
        code.read_text().replace(
            "def build(params):\n", "def build(params):\n    print('ß \\x1b[31mred', flush=True)\n", 1
        )
    )

    outcome = train(box, project)

    log = read_tail(box.home, outcome.run_id).lines or ()
    assert [line for line in log if line.endswith("printed ß \x1b[31mred")]
    shown = CliRunner().invoke(runs_command, ["log", outcome.run_id, "--home", str(box.home.root)])
    assert shown.exit_code == 0
    assert "ß �[31mred" in shown.output
    assert "\x1b" not in shown.output


def test_a_regression_project_goes_from_file_to_champion(box: Box, tmp_path: Path) -> None:
    project = write_houses(tmp_path / "houses")
    outcome = train(box, project)
    version = outcome.version
    assert outcome.promoted
    assert version.ref == "houses@1"
    assert box.models.get("houses") == version
    assert version.metrics["mae"] < 15
    assert {gate.name: gate.passed for gate in outcome.gates} == {
        "parity": True,
        "mae": True,
        "champion": None,
        "slice:town:mae": True,
    }
    run = box.runs.get(outcome.run_id)
    assert run.state == "completed"
    assert run.result is not None
    assert run.result["version"] == "houses@1"
    assert [(step.name, step.state) for step in box.runs.steps(run.id)] == [
        (name, "completed") for name in STEPS
    ]

    model = load(box, version)
    assert check_golden(model, Golden.from_json(box.models.file(version, GOLDEN_FILE))) == []
    reference = Reference.from_bytes(box.models.file(version, REFERENCE_FILE))
    assert reference.rows == version.lineage["rows_train"]
    assert reference.names == ("area", "town", PREDICTION)
    assert set(summarize_profile(box.models.file(version, PROFILE_FILE))) == {"area", "town"}
    card = box.models.file(version, CARD_FILE).decode()
    for text in ("houses", version.snapshot_id, outcome.run_id, "Feature importance", "Residuals", "by town"):
        assert text in card
    evaluation = json.loads(box.models.file(version, EVALUATION_FILE))
    assert evaluation["metrics"] == version.metrics
    assert [item["feature"] for item in evaluation["importance"]] == ["area", "town"]
    assert sum(part["rows"] for part in evaluation["slices"]) == evaluation["rows_test"]
    errors = version_detail(box, version.ref).calibration.residuals
    assert errors is not None
    assert errors.rows == sum(one.rows for one in errors.bins) == evaluation["rows_test"]
    assert errors.to_dict() == evaluation["residuals"] | {
        "bins": tuple(one | {"errors": tuple(one["errors"])} for one in evaluation["residuals"]["bins"]),
        "errors": tuple(evaluation["residuals"]["errors"]),
    }
    assert version.lineage["seed"] == 0
    assert version.lineage["git"] is None
    assert box.ledger.first_broken() is None
    assert box.objects.damaged() == []
    assert list(box.home.scratch.iterdir()) == []


def test_a_binary_project_with_a_boolean_target_goes_from_file_to_champion(box: Box, tmp_path: Path) -> None:
    outcome = train(box, write_churn(tmp_path / "churn"))
    version = outcome.version
    assert outcome.promoted
    assert version.signature.classes == (False, True)
    assert version.metrics["auc"] > 0.8
    reference = Reference.from_bytes(box.models.file(version, REFERENCE_FILE))
    assert PREDICTION in reference.names
    said = version_detail(box, version.ref).calibration.reliability
    assert said is not None
    assert said.event == "left = true"
    assert said.brier == pytest.approx(version.metrics["brier"])
    assert 0 <= said.ece < 0.2
    card = box.models.file(version, CARD_FILE).decode()
    assert "Calibration" in card
    assert f"expected calibration error {said.ece:.4g}" in card
    table = pa.table({"calls": [0, 19], "plan": ["basic", "gold"]})
    output = load(box, version).predict(encode_table(table, version.signature))
    assert output.probability is not None
    assert output.probability[0, 1] < 0.1 < 0.9 < output.probability[1, 1]


def test_training_twice_on_the_same_data_gives_the_same_model(box: Box, tmp_path: Path) -> None:
    project = write_houses(tmp_path / "houses")
    one, two = train(box, project).version, train(box, project).version
    assert (one.number, two.number) == (1, 2)
    assert one.snapshot_id == two.snapshot_id
    assert one.metrics == two.metrics
    for name in (PACKED_FILE, GOLDEN_FILE, REFERENCE_FILE):
        assert one.files[name] == two.files[name]
    assert box.models.aliases("houses") == {"champion": 2, "last_good": 1}


def test_a_worse_version_is_kept_as_rejected_and_the_champion_stays(box: Box, tmp_path: Path) -> None:
    project = write_houses(tmp_path / "houses")
    good = train(box, project).version
    worse = edit(tmp_path / "houses", "[gates]", "params = { alpha = 1e6 }\n[gates]")
    with pytest.raises(GateError) as caught:
        train(box, worse)
    assert "houses@2 was rejected" in caught.value.message
    assert "above the limit 30" in caught.value.message
    assert "worse than houses@1" in caught.value.message
    assert "mlops-box why houses@2" in (caught.value.hint or "")
    assert "mlops-box models card houses@2" in (caught.value.hint or "")
    bad = box.models.get("houses@2")
    assert bad.state == "rejected"
    assert box.models.get("houses") == good
    run = box.runs.get(str(bad.run_id))
    assert run.state == "rejected"
    assert run.result is not None
    assert run.result["promoted"] is False
    with pytest.raises(GateError):
        box.models.set_champion(bad, reason="hoping")


def test_the_champion_is_judged_on_the_candidates_own_rows(box: Box, tmp_path: Path) -> None:
    first = train(box, write_houses(tmp_path / "houses", seed=0)).version
    outcome = train(box, write_houses(tmp_path / "houses", seed=5))
    assert outcome.champion is not None
    assert outcome.champion.champion == "houses@1"
    # Worked out again from the stored snapshot, by another way.
    from mlops_box.data.splits import split

    project = write_houses(tmp_path / "houses", seed=5)
    table = box.snapshots.table(box.snapshots.get(outcome.version.snapshot_id))
    test = table.take(pa.array(split(table, project.declaration.model.split, time=None, seed=0).test))
    answers = load(box, first).predict(encode_table(test, first.signature))
    truth = np.array(test.column("price").to_pylist())
    expected = compute_metrics("regression", truth=truth, output=answers)
    assert outcome.champion.rows == test.num_rows
    assert outcome.champion.metrics == pytest.approx(expected)
    assert expected != first.metrics


def test_a_champion_that_held_out_other_rows_is_compared_with_a_caveat(box: Box, tmp_path: Path) -> None:
    assert train(box, write_houses(tmp_path / "houses")).notes == ()
    same = train(box, write_houses(tmp_path / "houses"))
    assert not [note for note in same.notes if "flatters" in note]
    seeded = edit(tmp_path / "houses", "[gates]", "seed = 4\n[gates]")
    seeded = edit(tmp_path / "houses", 'metric = "mae" }', 'metric = "mae", margin = 50 }')
    outcome = train(box, seeded)
    assert [note for note in outcome.notes if "houses@2 held out other rows" in note]


def test_a_champion_that_reads_a_lost_column_cannot_be_judged_and_does_not_block(
    box: Box, tmp_path: Path
) -> None:
    folder = tmp_path / "houses"
    train(box, write_houses(folder))
    text = (folder / "houses.csv").read_text().splitlines()
    (folder / "houses.csv").write_text("\n".join(line.replace("town", "place", 1) for line in text) + "\n")
    declared = (folder / "mlops.toml").read_text().replace("town", "place")
    (folder / "mlops.toml").write_text(declared)
    from mlops_box.project import load_project

    outcome = train(box, load_project(folder))
    champion = next(gate for gate in outcome.gates if gate.name == "champion")
    assert champion.passed is None
    assert "it reads town" in champion.message
    assert outcome.promoted


def test_a_gate_with_an_unknown_metric_starts_nothing(box: Box, tmp_path: Path) -> None:
    write_houses(tmp_path / "houses")
    project = edit(tmp_path / "houses", "mae = { max = 30 }", "mea = { max = 30 }")
    with pytest.raises(ProjectError) as caught:
        train(box, project)
    assert "did you mean 'mae'" in (caught.value.hint or "")
    assert box.runs.list() == []
    assert box.snapshots.list() == []


def test_a_slice_gate_on_a_lost_column_fails_before_anything_is_fitted(box: Box, tmp_path: Path) -> None:
    write_houses(tmp_path / "houses")
    project = edit(tmp_path / "houses", 'by = "town"', 'by = "twon"')
    with pytest.raises(ProjectError) as caught:
        train(box, project)
    assert caught.value.hint == "did you mean 'town'?"
    assert box.runs.list()[0].state == "failed"
    assert "fit" not in [step.name for step in box.runs.steps(box.runs.list()[0].id)]


def test_refused_data_and_a_broken_training_function_leave_no_version(box: Box, tmp_path: Path) -> None:
    folder = tmp_path / "houses"
    project = write_houses(folder)
    (folder / "train.py").write_text("def build(params):\n    raise RuntimeError('no luck')\n")
    with pytest.raises(TrainingError, match="no luck"):
        train(box, project)
    lines = (folder / "houses.csv").read_text().splitlines()
    (folder / "houses.csv").write_text("\n".join([lines[0], *(line.replace("a", "x") for line in lines[1:])]))
    with pytest.raises(RefusedError):
        train(box, project)
    assert [run.state for run in box.runs.list(kind="train")] == ["refused", "failed"]
    assert box.models.list() == []


def test_one_key_trains_once(box: Box, tmp_path: Path) -> None:
    project = write_houses(tmp_path / "houses")
    first = train(box, project, idempotency_key="decision-1", trigger="drift")
    again = train(box, project, idempotency_key="decision-1", trigger="drift")
    assert again.to_dict() == first.to_dict() | {"notes": []}
    assert len(box.runs.list(kind="train")) == 1
    worse = edit(tmp_path / "houses", "[gates]", "params = { alpha = 1e6 }\n[gates]")
    for _ in range(2):
        with pytest.raises(GateError, match="houses@2 was rejected"):
            train(box, worse, idempotency_key="decision-2")
    assert len(box.models.list()) == 2


def test_a_key_whose_run_failed_is_busy_and_one_that_crashed_starts_over(box: Box, tmp_path: Path) -> None:
    folder = tmp_path / "houses"
    project = write_houses(folder)
    crashed = box.runs.begin("train", "houses", trigger="drift", idempotency_key="k")
    box.runs.end(crashed.id, "crashed", error="killed")
    assert train(box, project, idempotency_key="k").version.number == 1
    assert train(box, project, idempotency_key="k").version.number == 1
    failed = box.runs.begin("train", "houses", trigger="drift", idempotency_key="f")
    box.runs.end(failed.id, "failed", error="no")
    with pytest.raises(BusyError, match=failed.id):
        train(box, project, idempotency_key="f")


class PromotedMeanwhile(DirectSteps):
    """Somebody promotes another version between the judgement and the promotion."""

    def __init__(self, act: Callable[[], Any]):
        self._act = act

    def run(self, name: str, function: Callable[..., T], /, *args: Any, retries: int = 0, **kwargs: Any) -> T:
        if name == "promote":
            self._act()
        return super().run(name, function, *args, retries=retries, **kwargs)


def test_a_version_never_replaces_a_champion_it_was_not_compared_with(box: Box, tmp_path: Path) -> None:
    project = write_houses(tmp_path / "houses")
    one = train(box, project).version
    train(box, project)
    steps = PromotedMeanwhile(lambda: box.models.set_champion(one, reason="by hand"))
    outcome = train(box, project, steps=steps)
    assert outcome.version.state == "accepted"
    assert not outcome.promoted
    assert "champion changed" in outcome.to_dict()["notes"][-1]
    assert box.models.get("houses") == one


def test_a_run_that_was_closed_meanwhile_registers_nothing(box: Box, tmp_path: Path) -> None:
    project = write_houses(tmp_path / "houses")

    class ClosedMeanwhile(DirectSteps):
        def run(
            self, name: str, function: Callable[..., T], /, *args: Any, retries: int = 0, **kwargs: Any
        ) -> T:
            if name == "register":
                box.runs.end(box.runs.list(kind="train")[0].id, "crashed", error="taken for dead")
            return super().run(name, function, *args, retries=retries, **kwargs)

    with pytest.raises(BusyError, match="closed as crashed"):
        train(box, project, steps=ClosedMeanwhile())
    assert box.models.list() == []


def test_a_named_snapshot_is_trained_on_and_one_of_another_project_is_refused(
    box: Box, tmp_path: Path
) -> None:
    houses = write_houses(tmp_path / "houses")
    first = train(box, houses).version
    write_houses(tmp_path / "houses", seed=9)
    again = train(box, houses, snapshot_id=first.snapshot_id[:12]).version
    assert again.snapshot_id == first.snapshot_id
    with pytest.raises(UsageError, match="is of project 'houses'"):
        train(box, write_churn(tmp_path / "churn"), snapshot_id=first.snapshot_id)
