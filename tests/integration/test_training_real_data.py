"""The two tabular examples, learnt from their real files as their ``mlops.toml`` declares them."""

from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pytest

from mlops_box.models.encode import encode_rows
from mlops_box.models.encode_tables import encode_table
from mlops_box.models.golden import check_golden
from mlops_box.models.runtime import OnnxModel
from mlops_box.progress import SilentProgress
from mlops_box.project import load_project
from mlops_box.training.trainer import train_model

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"


def learn(example: str, file: str):
    path = DATA / file
    if not path.is_file():
        pytest.skip(f"{file} is not beside this checkout (shared/data)")
    project = load_project(ROOT / "examples" / example)
    with duckdb.connect() as engine:
        engine.read_csv(str(path)).create_view("source")
        table = engine.sql(project.declaration.data.query or "select * from source").to_arrow_table()
    rows = np.arange(table.num_rows)
    indices = SimpleNamespace(train=rows[rows % 4 != 0], test=rows[rows % 4 == 0])
    types = {name: rule.type for name, rule in project.declaration.data.contract.columns.items()}
    model = project.declaration.model
    return train_model(table, indices, model, project.folder, types=types, progress=SilentProgress()), table


@pytest.mark.parametrize(
    ("example", "file"),
    [("bike_rentals", "bike-sharing/hour.csv"), ("milling_machine", "ai4i2020/ai4i2020.csv")],
)
def test_an_example_learns_from_its_real_file_and_exports_what_it_learnt(example, file):
    trained, table = learn(example, file)
    assert trained.parity.passed, trained.parity.message()
    assert trained.parity.rows > 2000
    model = OnnxModel(trained.packed_onnx, trained.signature)
    assert check_golden(model, trained.golden) == []
    # The whole table through the server's road and through the batch road.
    tensors = encode_table(table, trained.signature)
    answers, native = model.predict(tensors), trained.predict(tensors)
    by_row = model.predict(encode_rows(table.slice(0, 500).to_pylist(), trained.signature))
    if trained.signature.task == "regression":
        np.testing.assert_allclose(answers.prediction, native.prediction, rtol=1e-4, atol=1e-2)
        np.testing.assert_array_equal(by_row.prediction, answers.prediction[:500])
        error = np.abs(answers.prediction[trained.test] - table["cnt"].to_numpy()[trained.test]).mean()
        assert error < 60
    else:
        np.testing.assert_allclose(answers.probability, native.probability, atol=1e-4)
        np.testing.assert_array_equal(by_row.probability, answers.probability[:500])
        failed = table["Machine failure"].to_numpy()[trained.test] == 1
        probability = answers.probability[trained.test, 1]
        assert probability[failed].mean() > 10 * probability[~failed].mean()
