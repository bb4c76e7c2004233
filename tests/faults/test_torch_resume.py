"""A training that is killed goes on from its checkpoint and ends with the very same model."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is an extra")
pytest.importorskip("onnxscript", reason="onnxscript comes with the torch extra")

TRAIN = """
import time
from torch import nn
from mlops_box.training import TorchRecipe

class Slow(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, outputs))
    def forward(self, x):
        return self.layers(x)

def build(params):
    return TorchRecipe(module=Slow, epochs=12, patience=None, batch_size=32)
"""
# Epochs are told on standard output; PAUSE leaves time to be killed in.
RUN = """
import hashlib, json, sys, time
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pyarrow as pa
from mlops_box.progress import SilentProgress
from mlops_box.project import Model
from mlops_box.training.trainer import train_model
from mlops_box.training.watch import NoWatch

folder, checkpoints, pause = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
random = np.random.default_rng(0)
x = random.normal(size=300)
table = pa.table({"x": x, "y": x * 3 + random.normal(size=300)})

class Teller(NoWatch):
    def epoch(self, number, losses, *, replayed):
        print(json.dumps({"epoch": number}), flush=True, file=sys.__stdout__)
        time.sleep(pause)

trained = train_model(
    table, SimpleNamespace(train=np.arange(240), test=np.arange(240, 300)),
    Model(task="regression", target="y", features=["x"]), folder, types={},
    progress=SilentProgress(), watch=Teller(), checkpoints=checkpoints,
)
print(json.dumps({
    "digest": hashlib.sha256(trained.packed_onnx).hexdigest(),
    "resumed_after": trained.environment["resumed_after"],
    "epochs": len(trained.environment["losses"]),
}), flush=True)
"""


def start(project: Path, checkpoints: Path, pause: float) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(project), str(checkpoints), str(pause)],
        stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> dict[str, object]:
    out, _ = process.communicate(timeout=180)
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    return folder


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(project, tmp_path):
    unbroken = finish(start(project, tmp_path / "unbroken", 0))
    assert unbroken["resumed_after"] is None

    killed = start(project, tmp_path / "killed", 0.2)
    deadline = time.monotonic() + 120
    for line in killed.stdout:
        if json.loads(line).get("epoch") == 4:
            break
        assert time.monotonic() < deadline
    killed.send_signal(signal.SIGKILL)
    killed.wait(timeout=30)

    resumed = finish(start(project, tmp_path / "killed", 0))
    assert resumed["resumed_after"] >= 4
    assert resumed["epochs"] == 12
    assert resumed["digest"] == unbroken["digest"]
    assert [path.suffix for path in (tmp_path / "killed").iterdir()] == [".ckpt"]


def test_a_checkpoint_that_carries_code_is_not_run(tmp_path, monkeypatch):
    from mlops_box.training.checkpoint import CheckpointFile

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "trapped"),))

    import torch

    # The variable switches torch's own default to the loader that runs code.
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path = tmp_path / f"torch-{'k' * 16}.ckpt"
    torch.save({"format": 1, "key": "k" * 64, "epoch": Trap()}, path)
    assert CheckpointFile(tmp_path, "k" * 64).load("cpu") is None
    path.write_bytes(pickle.dumps(Trap()))
    assert CheckpointFile(tmp_path, "k" * 64).load("cpu") is None
    assert not (tmp_path / "trapped").exists()


def test_a_torn_or_foreign_checkpoint_is_not_used(tmp_path):
    import torch

    from mlops_box.training.checkpoint import Checkpoint, CheckpointFile

    file = CheckpointFile(tmp_path, "a" * 64)
    weights = {"w": torch.ones(3)}
    made = Checkpoint(2, weights, {}, {}, weights, 1, 0.5, [{"train_loss": 0.5}], False)
    file.save(made)
    found = file.load("cpu")
    assert found is not None
    assert found.epoch == 2
    assert torch.equal(found.network["w"], weights["w"])
    path = next(tmp_path.glob("*.ckpt"))
    assert CheckpointFile(tmp_path, "a" * 16 + "b" * 48).load("cpu") is None
    path.write_bytes(path.read_bytes()[:-100])
    assert file.load("cpu") is None
