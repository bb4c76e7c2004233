"""A small project whose model is trained for real and asked in this process; used by the monitoring tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from mlops_box.box import Box
from mlops_box.clock import FixedClock
from mlops_box.ids import parse_ref
from mlops_box.operations.train import train
from mlops_box.project import LoadedProject, load_project
from mlops_box.serving.metrics import Metrics
from mlops_box.serving.prediction_log import PredictionLog
from mlops_box.serving.predictor import Predictor
from mlops_box.serving.router import Router
from mlops_box.serving.truth import TruthReader

START = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = "kettles"

TOML = """
[project]
name = "kettles"
[data]
source = "data.csv"
[data.contract]
volume = {{ type = "double" }}
power = {{ type = "double", null = true }}
kind = {{ type = "varchar" }}
minutes = {{ type = "double" }}
[model]
task = "regression"
target = "minutes"
features = ["volume", "power", "kind"]
split = {{ by = "random", test = 0.25 }}
[gates]
mae = {{ max = {max_mae} }}
[monitor]
window = "1h"
min_rows = 100
fdr = 0.00278
false_alarms = "2/day"
[retrain]
{retrain}
"""
CODE = """
from sklearn.linear_model import LinearRegression
def build(params):
    return LinearRegression()
"""


def rows(count: int, *, seed: int, shift: float = 0.0, slope: float = 2.0) -> list[dict[str, Any]]:
    """Rows with their target; ``shift`` moves a feature, ``slope`` changes what is to be learnt."""
    rng = np.random.default_rng(seed)
    volume = rng.normal(1.5 + shift, 0.4, count)
    power = rng.normal(2.0, 0.3, count)
    kind = rng.choice(["steel", "glass"], count)
    minutes = slope * volume + power + (kind == "glass") + rng.normal(0, 0.1, count)
    return [
        {"volume": float(v), "power": float(p), "kind": str(k), "minutes": float(m)}
        for v, p, k, m in zip(volume, power, kind, minutes, strict=True)
    ]


class Case:
    """A box whose clock the test moves, one project, and a way to ask its model."""

    def __init__(
        self, folder: Path, *, retrain: str = 'mode = "auto"\ncooldown = "0s"', max_mae: float = 5.0
    ):
        self.clock = FixedClock(START)
        self.box = Box.open(folder / "home", clock=self.clock, actor="tester")
        self.folder = folder / "project"
        self.folder.mkdir()
        (self.folder / "train.py").write_text(CODE)
        self.declare(retrain, max_mae)
        self.write(rows(800, seed=1))

    @property
    def project(self) -> LoadedProject:
        return load_project(self.folder)

    def declare(self, retrain: str, max_mae: float = 5.0) -> None:
        (self.folder / "mlops.toml").write_text(TOML.format(retrain=retrain, max_mae=max_mae))
        self.box.projects.register(self.project)

    def write(self, data: list[dict[str, Any]]) -> None:
        pa.csv.write_csv(pa.Table.from_pylist(data), self.folder / "data.csv")

    def train(self) -> str:
        return train(self.box, self.project).version.ref

    def ask(self, data: list[dict[str, Any]], *, ref: str = MODEL, truth: bool = False) -> list[str]:
        """Predict through the real predictor and its log; with ``truth``, send that too. Returns the ids."""
        log = PredictionLog(self.box.home.predictions, self.box.db, self.clock)
        try:
            predictor = Predictor(log, self.clock, Metrics())
            slot = Router(self.box.db, self.box.models, self.box.projects).load(parse_ref(ref))
            asked = [{name: value for name, value in row.items() if name != "minutes"} for row in data]
            reply = predictor.predict_now(slot, asked, "champion")
            if truth:
                pairs = [(id_, row["minutes"]) for id_, row in zip(reply.ids, data, strict=True)]
                predictor.store_truth(MODEL, TruthReader(slot.version.signature).read_all(pairs))
        finally:
            log.close()
        return list(reply.ids)

    def tell(self, ids: list[str], values: list[float]) -> None:
        """Send ground truth later."""
        log = PredictionLog(self.box.home.predictions, self.box.db, self.clock)
        try:
            reader = TruthReader(self.box.models.get(MODEL).signature)
            Predictor(log, self.clock, Metrics()).store_truth(
                MODEL, reader.read_all(zip(ids, values, strict=True))
            )
        finally:
            log.close()

    def pass_time(self, **by: float) -> None:
        self.clock.advance(timedelta(**by))
