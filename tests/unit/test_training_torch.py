"""Networks trained by the box; each test costs an import of torch or an export, so there are few."""

import numpy as np
import pyarrow as pa
import pytest

from mlops_box.errors import TrainingError
from mlops_box.models.golden import check_golden
from mlops_box.models.runtime import OnnxModel
from mlops_box.training import TorchRecipe

torch = pytest.importorskip("torch", reason="torch is an extra")
pytest.importorskip("onnxscript", reason="onnxscript comes with the torch extra")

CODE = """
from torch import nn
from mlops_box.training import TorchRecipe

def network(inputs, outputs):
    return nn.Sequential(
        nn.Linear(inputs, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, outputs)
    )

def build(params):
    return TorchRecipe(module=network, **{"epochs": 8, "batch_size": 64, **params})
"""
BROKEN = """
import torch
from torch import nn
from mlops_box.training import TorchRecipe

class Branching(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)
    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else -self.layer(x)

def build(params):
    return {
        "branch": lambda: TorchRecipe(module=Branching, epochs=1),
        "shape": lambda: TorchRecipe(module=lambda i, o: nn.Sequential(nn.Linear(i, o), nn.Flatten(0)), epochs=1),
        "width": lambda: TorchRecipe(module=lambda i, o: nn.Linear(i, 3), loss=lambda a, b: a.mean() ** 2, epochs=1),
        "nothing": lambda: TorchRecipe(module=lambda i, o: nn.Identity(), epochs=1),
        "raises": lambda: TorchRecipe(module=lambda i, o: nn.Linear(i + 1, o), epochs=1),
        "nan": lambda: TorchRecipe(module=nn.Linear, optimiser="sgd", learning_rate=1e30, epochs=3),
        "loss": lambda: TorchRecipe(module=nn.Linear, loss="cross_entropy", epochs=1),
        "no module": lambda: TorchRecipe(module=lambda i, o: 3, epochs=1),
    }[params["case"]]()
"""


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    x, kind = random.normal(size=600), random.choice(["a", "b"], 600)
    y = 1000 + 300 * x + 100 * (kind == "a") + random.normal(size=600)
    return pa.table({"x": x, "kind": kind.tolist(), "y": y, "level": np.digitize(y, [800, 1200])})


def test_a_network_learns_a_target_far_from_zero_and_its_export_agrees(table, train_case):
    given = {
        "task": "regression",
        "target": "y",
        "features": ["x", "kind"],
        "params": {"epochs": 40, "learning_rate": 0.01},
    }
    trained = train_case(CODE, table, **given)
    assert trained.parity.passed, trained.parity.message()
    model = OnnxModel(trained.packed_onnx, trained.signature)
    assert check_golden(model, trained.golden) == []
    assert trained.environment["losses"][-1]["validation_loss"] < 0.1
    assert b"site-packages" not in trained.packed_onnx
    assert trained.environment["device"] == "cpu" or torch.cuda.is_available()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_training_that_is_declared_for_a_gpu_is_refused_where_there_is_none(table, train_case):
    given = {"task": "regression", "target": "y", "features": ["x", "kind"], "params": {"epochs": 1}}
    with pytest.raises(TrainingError, match="torch finds no GPU"):
        train_case(CODE, table, **given, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU on this machine")
def test_a_training_that_is_declared_for_the_gpu_runs_there_and_one_for_the_cpu_does_not(table, train_case):
    given = {"task": "regression", "target": "y", "features": ["x", "kind"], "params": {"epochs": 1}}
    assert (
        train_case(CODE, table, **given, device="cuda").environment["device"] == torch.cuda.get_device_name()
    )
    assert train_case(CODE, table, **given, device="cpu").environment["device"] == "cpu"


def test_the_same_seed_gives_the_same_classifier(table, train_case):
    given = {"task": "multiclass", "target": "level", "features": ["x", "kind"]}
    one, other = (train_case(CODE, table, **given) for _ in range(2))
    assert one.parity.passed, one.parity.message()
    assert one.signature.classes == (0, 1, 2)
    assert one.packed_onnx == other.packed_onnx
    assert train_case(CODE, table, **given, seed=1).packed_onnx != one.packed_onnx


def test_training_stops_early_and_keeps_the_best_epoch(table, train_case):
    params = {"epochs": 200, "patience": 2, "learning_rate": 0.05}
    trained = train_case(CODE, table, task="regression", target="y", features=["x"], params=params)
    losses = [epoch["validation_loss"] for epoch in trained.environment["losses"]]
    assert len(losses) < 200
    assert trained.environment["best_epoch"] == int(np.argmin(losses)) + 1 == len(losses) - 2


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("branch", "cannot be exported"),
        ("shape", r"answers \(.*\) for .* rows"),
        ("width", "gives 3 outputs, 1 are needed"),
        ("nothing", "nothing to learn"),
        ("raises", "cannot be trained: RuntimeError"),
        ("nan", "in epoch"),
        ("loss", "does not fit the task"),
        ("no module", "makes int"),
    ],
)
def test_a_network_that_cannot_be_used_is_refused_with_a_reason(case, message, table, train_case):
    with pytest.raises(TrainingError, match=message):
        train_case(BROKEN, table, task="regression", target="y", features=["x"], params={"case": case})


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"loss": "l3"},
        {"optimiser": "magic"},
        {"validation": 0.9},
        {"learning_rate": 0},
    ],
)
def test_a_recipe_out_of_range_is_refused_at_once(wrong):
    with pytest.raises(TrainingError, match=next(iter(wrong))):
        TorchRecipe(module=torch.nn.Linear, **wrong)
