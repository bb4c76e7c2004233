"""A training killed at its worst moments leaves the old state, and starts over under the same key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlops_box.box import Box
from mlops_box.operations.train import train

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from train_kit import write_houses

KILLED = """
import os, sys
from pathlib import Path
from mlops_box.box import Box
from mlops_box.operations.steps import DirectSteps
from mlops_box.operations.train import train
from mlops_box.project import load_project

class Killed(DirectSteps):
    def run(self, name, function, /, *args, retries=0, **kwargs):
        if name == sys.argv[3] and sys.argv[4] == "before":
            os.kill(os.getpid(), 9)
        result = super().run(name, function, *args, retries=retries, **kwargs)
        if name == sys.argv[3]:
            os.kill(os.getpid(), 9)
        return result

with Box.open(Path(sys.argv[1])) as box:
    train(box, load_project(Path(sys.argv[2])), steps=Killed(), idempotency_key="decision-7")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "when", "versions_left"),
    [("fit", "after", 0), ("register", "before", 0), ("register", "after", 1), ("promote", "after", 1)],
)
def test_a_killed_training_leaves_no_half_version_and_starts_over(
    tmp_path: Path, step: str, when: str, versions_left: int
) -> None:
    project = write_houses(tmp_path / "houses")
    home = tmp_path / "home"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(home), str(project.folder), step, when],
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    with Box.open(home) as box:
        assert len(box.models.list()) == versions_left
        served = box.models.aliases("houses")
        assert served == ({"champion": 1} if step == "promote" else {})
        outcome = train(box, project, idempotency_key="decision-7")
        assert outcome.promoted
        assert outcome.version.number == versions_left + 1
        assert [run.state for run in box.runs.list(kind="train")] == ["completed", "crashed"]
        assert box.models.get("houses") == outcome.version
        assert box.ledger.first_broken() is None
        assert box.objects.damaged() == []
