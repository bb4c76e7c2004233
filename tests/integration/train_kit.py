"""Small generated projects that train in about a second."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_box.project import LoadedProject, load_project

HOUSES = """
[project]
name = "houses"
description = "Prices of houses"
[data]
source = "houses.csv"
key = ["id"]
[data.contract]
id = { type = "bigint" }
area = { type = "double", min = 0, max = 1000 }
town = { type = "varchar", in = ["a", "b", "c"] }
price = { type = "double" }
quarantine = "5%"
[model]
task = "regression"
target = "price"
features = ["area", "town"]
split = { by = "random", test = 0.25 }
[gates]
mae = { max = 30 }
champion = { metric = "mae" }
slice = { by = "town", metric = "mae", max_ratio = 2.0, min_rows = 5 }
"""
HOUSES_TRAIN = """
from sklearn.linear_model import Ridge

def build(params):
    return Ridge(alpha=params.get("alpha", 1.0))
"""
CHURN = """
[project]
name = "churn"
[data]
source = "churn.csv"
time = "at"
[data.contract]
at = { type = "timestamp" }
calls = { type = "bigint", min = 0 }
plan = { type = "varchar" }
left = { type = "boolean" }
[model]
task = "binary"
target = "left"
features = ["calls", "plan"]
split = { by = "time", test = 0.3 }
[gates]
auc = { min = 0.7 }
champion = { metric = "log_loss", margin = 0.01 }
"""
CHURN_TRAIN = """
from sklearn.linear_model import LogisticRegression

def build(params):
    return LogisticRegression()
"""


def write_houses(folder: Path, *, seed: int = 0, rows: int = 400) -> LoadedProject:
    """Price = 2 * area + town; nearly linear."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    area, town = random.uniform(20, 200, rows), random.integers(0, 3, rows)
    price = 2 * area + 40 * town + random.normal(0, 10, rows)
    lines = [
        f"{row},{one:.3f},{'abc'[place]},{cost:.3f}"
        for row, (one, place, cost) in enumerate(zip(area, town, price, strict=True))
    ]
    (folder / "houses.csv").write_text("\n".join(["id,area,town,price", *lines]) + "\n")
    (folder / "mlops.toml").write_text(HOUSES)
    (folder / "train.py").write_text(HOUSES_TRAIN)
    return load_project(folder)


def write_churn(folder: Path, *, rows: int = 400) -> LoadedProject:
    """Who calls often leaves; a boolean target, split by time."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    calls, plan = random.integers(0, 20, rows), random.integers(0, 2, rows)
    left = random.uniform(size=rows) < 1 / (1 + np.exp(-(calls - 10 + 3 * plan) / 2))
    day = np.datetime64("2026-01-01T00:00:00")
    lines = [
        f"{day + np.timedelta64(row, 'h')},{calls[row]},{('basic', 'gold')[plan[row]]},{str(bool(left[row])).lower()}"
        for row in range(rows)
    ]
    (folder / "churn.csv").write_text("\n".join(["at,calls,plan,left", *lines]) + "\n")
    (folder / "mlops.toml").write_text(CHURN)
    (folder / "train.py").write_text(CHURN_TRAIN)
    return load_project(folder)


def edit(folder: Path, old: str, new: str) -> LoadedProject:
    """Change the declaration."""
    file = folder / "mlops.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return load_project(folder)


@dataclass(frozen=True)
class Told:
    """What a command printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out.strip().splitlines()[-1])


def commander(home: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """``run("models", "list")`` calls the command line in this process against one home."""
    from mlops_box.cli.main import main

    def run(*arguments: str) -> Told:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--home", str(home)])
        shown = capfd.readouterr()
        return Told(int(ended.value.code or 0), shown.out, shown.err)

    return run
