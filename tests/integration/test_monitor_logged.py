"""What the monitor makes of columns that are not logged, and of requests whose rows are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from monitor_case import MODEL, Case, rows

from mlops_box.ids import parse_ref
from mlops_box.operations.monitor import monitor
from mlops_box.serving.metrics import Metrics
from mlops_box.serving.prediction_log import PredictionLog
from mlops_box.serving.predictor import Predictor
from mlops_box.serving.router import Router
from mlops_box.serving.truth import TruthReader


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    made = Case(tmp_path, retrain='mode = "off"')
    made.train()
    yield made
    made.box.close()


def declare(case: Case, serve: str) -> None:
    with (case.folder / "mlops.toml").open("a") as file:
        file.write(f"[serve]\n{serve}\n")
    case.box.projects.register(case.project)


def test_a_redacted_column_is_not_logged_not_watched_and_said_to_be_so(case: Case) -> None:
    declare(case, 'redact = ["volume"]')
    case.ask(rows(300, seed=2), truth=True)
    (window,) = monitor(case.box).windows
    assert case.box.predictions.predictions(MODEL)["feature:volume"].null_count == 300
    assert window.drift.outcome == "fine", window.drift.reason
    assert window.data.outcome == "fine", "null is not held against the contract, which forbids it"
    assert window.quality is not None
    assert window.quality.rows_with_truth == 300
    hidden = window.drift.feature("volume")
    assert hidden.outcome == "cannot_tell"
    assert "redact" in hidden.tests[0].message


def test_the_other_columns_are_watched_as_ever(case: Case) -> None:
    declare(case, 'redact = ["kind"]')
    case.ask(rows(300, seed=3, shift=1.5))
    (window,) = monitor(case.box).windows
    assert window.drift.drifted[0] == "volume"


def test_with_sampling_drift_counts_the_logged_rows_and_quality_all_of_them(case: Case) -> None:
    declare(case, "log_sample = 0.5")
    box = case.box
    log = PredictionLog(box.home.predictions, box.db, case.clock)
    predictor = Predictor(log, case.clock, Metrics())
    slot = Router(box.db, box.models, box.projects).load(parse_ref(MODEL))
    for row in rows(400, seed=2):
        asked = {name: value for name, value in row.items() if name != "minutes"}
        (id_,) = predictor.predict_now(slot, [asked], "champion").ids
        truths = TruthReader(slot.version.signature).read_all([(id_, row["minutes"])])
        predictor.store_truth(MODEL, truths)
    log.close()
    box.predictions.seal()
    (window,) = monitor(box).windows
    assert (window.rows, window.rows_with_truth) == (400, 400)
    assert window.summary["rows_logged"] == pytest.approx(200, abs=10)
    assert window.drift.rows == window.summary["rows_logged"]
    assert window.drift.outcome == "fine", window.drift.reason
    assert window.data.outcome == "fine"
