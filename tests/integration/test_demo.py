"""The demo is the product's first promise: it runs whole, on real processes, and says what it did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_box.box import Box


@pytest.mark.slow
def test_the_demo_ends_with_a_retrained_champion_that_answers_better(tmp_path: Path) -> None:
    place = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "mlops_box", "demo", "--json", "--home", str(place)],
        env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(done.stdout)
    assert facts["refused_exit_code"] == 3
    assert facts["champion"] == "biopsies@2"
    assert facts["accuracy_shifted"] < facts["accuracy_usual"]
    assert facts["accuracy_after"] > facts["accuracy_shifted"]
    with Box.open(place / "home", read_only=True) as box:
        assert box.ledger.first_broken() is None
        assert [run.kind for run in box.runs.list(state="running")] == []
        assert box.models.aliases("biopsies") == {"champion": 2, "last_good": 1}
        assert {alert.kind for alert in box.alerts.list()} == {"drift"}
        (decision,) = [item for item in box.decisions.list() if item.state == "done"]
        assert decision.trigger == "drift"
        refused = box.snapshots.refusals()
        assert len(refused) == 1
    left = subprocess.run(["pgrep", "-f", str(place)], capture_output=True, text=True, check=False)
    assert left.stdout == "", "the demo left a process behind"
