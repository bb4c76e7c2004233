"""A training that is under way is watched: its curve grows, and what is left is told from its own epochs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_box.box import Box
from mlops_box.errors import IntegrityError, NotFoundError, StorageError
from mlops_box.operations.views import Query, RunDetail, list_runs, run_detail
from mlops_box.runs import Run

pytest.importorskip("torch", reason="torch is an extra")
pytest.importorskip("onnxscript", reason="onnxscript comes with the torch extra")

PROJECT = """
[project]
name = "waves"
[data]
source = "waves.csv"
[data.contract]
x = { type = "double" }
y = { type = "double" }
[model]
task = "regression"
target = "y"
features = ["x"]
device = "cpu"
split = { by = "random", test = 0.25 }
"""
# Each epoch waits for its ticket, so that the test sees the training in the middle of it.
TRAIN = """
import time
from pathlib import Path
from torch import nn
from mlops_box.training import TorchRecipe

TICKETS = Path(__file__).with_name("tickets")

class Patient(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, outputs))
        self.begun = 0

    def train(self, mode=True):
        if mode:
            self.begun += 1
            deadline = time.monotonic() + 300
            while int(TICKETS.read_text() or 0) < self.begun:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        return super().train(mode)

    def forward(self, x):
        return self.layers(x)

def build(params):
    return TorchRecipe(module=Patient, epochs=8, patience=100, batch_size=64)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "waves"
    made.mkdir()
    x = np.random.default_rng(0).uniform(-3, 3, 240)
    (made / "waves.csv").write_text("x,y\n" + "\n".join(f"{one},{np.sin(one)}" for one in x) + "\n")
    (made / "mlops.toml").write_text(PROJECT)
    (made / "train.py").write_text(TRAIN)
    return made


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def start(folder: Path, home: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "mlops_box", "train", "--project", str(folder), "--direct"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "MLOPS_BOX_HOME": str(home)},
            )
        )
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def seen(home: Path, process: subprocess.Popen[str], epoch: int) -> RunDetail:
    """The newest run, once it has recorded this epoch."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        # The training makes the box: it may be there, and not be whole yet.
        with (
            contextlib.suppress(IntegrityError, NotFoundError, StorageError),
            Box.open(home, read_only=True) as box,
        ):
            runs: list[Run] = box.runs.list(kind="train", state="running")
            alive = [run for run in runs if run.owner.is_alive()]
            detail = run_detail(box, alive[0].id) if alive else None
            if detail and detail.epochs and detail.epochs.done >= epoch:
                return detail
        time.sleep(0.05)
    raise AssertionError(f"epoch {epoch} was never recorded")


def told(home: Path, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "mlops_box", *arguments, "--json", "--home", str(home)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_the_curve_of_a_running_training_grows_and_a_resumed_one_tells_what_is_left_from_its_own_epochs(
    folder: Path, home: Path, start: Callable[[], subprocess.Popen[str]]
) -> None:
    tickets = folder / "tickets"
    tickets.write_text("1")
    first = start()
    early = seen(home, first, 1)
    assert [step for step, _ in early.points["train_loss"]] == [1]
    tickets.write_text("3")
    grown = seen(home, first, 3)
    assert [step for step, _ in grown.points["validation_loss"]] == [1, 2, 3]
    assert grown.epochs is not None
    with Box.open(home, read_only=True) as box:
        progress = grown.epochs.progress(box.clock.now())
        row = list_runs(box, Query(text="state:running")).rows[0]
    assert (progress.done, progress.total, progress.may_stop, progress.resumed_after) == (3, 8, True, 0)
    assert progress.seconds_each is not None
    assert progress.left_s is not None
    assert 4 * progress.seconds_each <= progress.left_s <= 5 * progress.seconds_each
    assert row.epochs is not None
    assert row.epochs.done == 3

    shown = told(home, "runs", "show", grown.run.id)["epochs"]
    assert (shown["done"], shown["total"], shown["running"]) == (3, 8, True)
    assert shown["left_s"] is not None
    assert "epoch 3 of at most 8" in told(home, "status")["runs"][0]["epochs"]

    first.send_signal(signal.SIGKILL)
    first.wait(timeout=60)
    assert told(home, "runs", "show", grown.run.id)["epochs"]["left_s"] is None

    tickets.write_text("0")
    second = start()
    resumed = seen(home, second, 3)
    assert resumed.run.id != grown.run.id
    assert resumed.epochs is not None
    with Box.open(home, read_only=True) as box:
        progress = resumed.epochs.progress(box.clock.now())
    # Epochs told again from the checkpoint took no time: nothing is known before this process has done one.
    assert (progress.done, progress.resumed_after, progress.seconds_each, progress.left_s) == (
        3,
        3,
        None,
        None,
    )
    assert [step for step, _ in resumed.points["train_loss"]] == [1, 2, 3]

    tickets.write_text("2")
    further = seen(home, second, 5)
    assert further.epochs is not None
    assert len(further.epochs.marks) == 3
    tickets.write_text("100")
    said, _ = second.communicate(timeout=300)
    assert second.returncode == 0, said
    with Box.open(home, read_only=True) as box:
        done = run_detail(box, resumed.run.id)
    assert len(done.points["train_loss"]) == 8
    assert done.epochs is not None
    assert done.epochs.ended
