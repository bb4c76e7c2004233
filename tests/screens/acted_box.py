"""A box on which everything that can be done, can be done: a project that trains, real versions, a rollout, a suggestion."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import seeded_box

from mlops_box.box import Box
from mlops_box.models.values import VersionDraft
from mlops_box.operations.train import train
from mlops_box.project import load_project

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from train_kit import write_houses

ROLLOUT = """
[serve.rollout]
shadow = "1h"
canary = [10, 50]
step = "1h"
min_requests = 200
"""
SUGGESTION, ALERT = "01suggested00000000000", "01driftalert0000000000"


def seed(home: Path) -> Path:
    """``houses@1`` serves, ``houses@2`` waits in a rollout over it, ``houses@3`` never did anything; returns ``home``."""
    folder = home.parent / "houses"
    write_houses(folder)
    with (folder / "mlops.toml").open("a") as file:
        file.write(ROLLOUT)
    with Box.open(home, clock=seeded_box.fixed_clock(), actor="ana") as box:
        for _ in range(2):
            train(box, load_project(folder), trigger="manual")
        _spare_versions(box)
        _suggestion(box)
    return home


def copy(home: Path, target: Path) -> Path:
    """The box for one test; its project stays where it was trained."""
    return Path(shutil.copytree(home, target))


def _spare_versions(box: Box) -> None:
    second = box.models.get("houses@2")
    for note in ("only of houses@3", "only of houses@4"):
        files = {**second.files, "card.html": box.objects.put_bytes(note.encode(), kind="card")}
        box.models.register(VersionDraft(
            second.model, second.project, second.task, True, second.signature, files, second.metrics, second.gates,
            second.snapshot_id, None, dict(second.lineage),
        ))  # fmt: skip


def _suggestion(box: Box) -> None:
    seeded_box.insert(
        box, "alerts", id=ALERT, dedupe="houses:drift", project="houses", model="houses", number=1, kind="drift",
        severity="warning", state="open", note="", resolved_at=None, title="area drifted from the reference",
        finding={}, count=3, opened_at=seeded_box.ago(hours=2), updated_at=seeded_box.ago(minutes=3),
    )  # fmt: skip
    seeded_box.insert(
        box, "decisions", id=SUGGESTION, idempotency_key="drift:houses:1", project="houses", model="houses",
        alert_id=ALERT, trigger="drift", mode="suggest", act="train", state="suggested",
        reason="drift in area; retraining is suggested", facts={}, run_id=None,
        decided_at=seeded_box.ago(minutes=3), updated_at=seeded_box.ago(minutes=3),
    )  # fmt: skip
