"""A classifier's quality, estimated before any ground truth, beside what is realised when it comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import monitor_case
import numpy as np
import pytest
from monitor_case import MODEL, Case

from mlops_box.operations.monitor import monitor

TOML = (
    monitor_case.TOML.replace('task = "regression"', 'task = "binary"')
    .replace('target = "minutes"', 'target = "kind"')
    .replace('features = ["volume", "power", "kind"]', 'features = ["volume", "power"]')
    .replace("mae = {{ max = {max_mae} }}", "accuracy = {{ min = 0.5 }}")
    .replace('minutes = {{ type = "double" }}\n', "")
)
CODE = monitor_case.CODE.replace("LinearRegression", "LogisticRegression")


def kinds(count: int, *, seed: int, hard: float = 1.0) -> list[dict[str, Any]]:
    """Glass is the more probable the larger the volume; small differences are hard to tell."""
    rng = np.random.default_rng(seed)
    volume = 1.5 + rng.normal(0, 0.6 / hard, count)
    glass = rng.random(count) < 1 / (1 + np.exp(-6 * (volume - 1.5)))
    return [
        {"volume": float(v), "power": float(p), "kind": "glass" if g else "steel"}
        for v, p, g in zip(volume, rng.normal(2, 0.3, count), glass, strict=True)
    ]


def test_auc_and_f1_are_estimated_and_the_truth_lies_within(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_case, "TOML", TOML)
    monkeypatch.setattr(monitor_case, "CODE", CODE)
    case = Case(tmp_path, retrain='mode = "off"')
    case.write(kinds(2000, seed=1))
    case.train()
    data = kinds(600, seed=2, hard=2.5)
    ids = case.ask([{"volume": row["volume"], "power": row["power"]} for row in data])
    (window,) = monitor(case.box).windows
    estimate = window.estimate
    assert estimate is not None
    assert set(estimate.others) == {"auc", "f1"}
    assert "concept drift" in estimate.text
    case.tell(ids, [row["kind"] for row in data])
    (revised,) = monitor(case.box).windows
    assert revised.quality is not None
    assert revised.estimate == estimate, "ground truth changes no estimate"
    held_out = case.box.models.get(MODEL).metrics
    for name, one in estimate.others.items():
        real = revised.quality.metrics[name]
        assert one.low <= real <= one.high, (name, one, real)
        assert abs(one.value - real) < abs(held_out[name] - real)
    case.box.close()
