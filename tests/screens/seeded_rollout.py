"""The seeded box after a night: ``bike-rentals@5`` was let in by a rollout, and rolled back by its errors."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import seeded_box
from seeded_box import NOW, ago

from mlops_box.box import Box
from mlops_box.clock import FixedClock
from mlops_box.models.values import VersionDraft
from mlops_box.project import load_project
from mlops_box.project.serve import Rollout as Plan
from mlops_box.serving.rollout.evidence import Counts, EvidenceRow
from mlops_box.serving.rollout.signals import Signal
from mlops_box.serving.rollout.verdict import Verdict
from mlops_box.serving.rollout.yardstick import Yardstick

ROLLOUT = "01rolloutrolledback000"
REASON = "12.00% of 600 requests failed (72 raised), 0.10% of the champion's 3000; 2.00% more are allowed"
PROJECT = """
[project]
name = "bike-rentals"
[data]
source = "hour.csv"
[model]
task = "regression"
target = "cnt"
features = ["temp", "hum", "weathersit"]
[retrain]
mode = "suggest"
[serve.rollout]
shadow = "10m"
canary = [5, 25]
step = "10m"
min_requests = 200
"""


def seed(home: Path) -> Path:
    """Make the box in ``home``; returns ``home``."""
    seeded_box.seed(home)
    with Box.open(home, clock=seeded_box.fixed_clock(), actor="ana") as box:
        plan = _project(box, home.parent / "bike-rentals")
        _version(box)
        seeded_box.insert(
            box, "rollouts", id=ROLLOUT, model="bike-rentals", number=5, base=3, base_since=ago(hours=3.9),
            project="bike-rentals", state="rolled_back", step=1, revision=4, plan=plan.model_dump_json(),
            yardstick=Yardstick(edges=(100.0, 300.0), spread=60.0, error_scale=40.0).to_json(), reason=f"errors: {REASON}",
            proposed_at=ago(minutes=40), started_at=ago(minutes=40), stage_at=ago(minutes=3), ended_at=ago(minutes=3),
            paused_at=None,
        )  # fmt: skip
        _evidence(box)
    _transitions(home)
    return home


def _project(box: Box, folder: Path) -> Plan:
    folder.mkdir()
    (folder / "mlops.toml").write_text(PROJECT)
    project = load_project(folder)
    box.projects.register(project)
    return project.declaration.serve.rollout


def _version(box: Box) -> None:
    third = box.models.get("bike-rentals@3")
    card = box.objects.put_bytes(b"<!doctype html><title>card of the fifth</title>", kind="card")
    version = box.models.register(VersionDraft(
        third.model, third.project, third.task, True, third.signature, {**third.files, "card.html": card},
        {"mae": 39.8, "rmse": 57.4, "r2": 0.901}, third.gates, third.snapshot_id, None, dict(third.lineage),
    ))  # fmt: skip
    with box.db.write() as tx:
        tx.execute("UPDATE versions SET created_at = ? WHERE model = ? AND number = ?",
                   (ago(minutes=41), version.model, version.number))  # fmt: skip


def _evidence(box: Box) -> None:
    def counts(requests: int, failing: int = 0) -> Counts:
        found = Counts()
        for place in range(requests):
            if place < failing:
                found.failed_with("raised", 1, 0.002)
            else:
                found.answered(1, 0.002, [place % 3], 3)
                found.compare(float(place % 20 == 0))
        return found

    stages: list[tuple[Any, int, int]] = [("shadow", 0, 0), ("canary", 0, 0), ("canary", 1, 72)]
    for state, step, failing in stages:
        rows = [
            EvidenceRow(state, step, "candidate", counts(600, failing)),
            EvidenceRow(state, step, "champion", counts(3000, 3)),
        ]
        box.rollouts.put_evidence(ROLLOUT, "a process", rows)


def _transitions(home: Path) -> None:
    """What the ledger holds on it, each at its time."""
    bad = Verdict("bad", f"errors: {REASON}", 600, (
        Signal("errors", "bad", REASON, 1.9e45, 1100.0),
        Signal("latency", "good", "95 % within 2 ms, the champion's within 2 ms; 1.5 times slower is allowed", 1.0, 1100.0),
        Signal("predictions", "good", "distance 0.01 from the champion's; 0.30 is allowed", 1.0, 1100.0),
        Signal("quality", "cannot_tell", "no ground truth yet", 1.0, 1100.0),
    ))  # fmt: skip
    acts = [
        (40, "proposed", {"reason": "passed its gates (schedule)"}),
        (40, "shadow", {"reason": "shadow begins"}),
        (29, "canary", {"reason": "600 requests, nothing worse than allowed", "to": {"state": "canary", "step": 0}}),
        (17, "canary", {"reason": "600 requests, nothing worse than allowed", "to": {"state": "canary", "step": 1}}),
        (3, "rolled_back", {"reason": bad.reason, "verdict": bad.to_dict(), "to": {"state": "rolled_back", "step": 1}}),
    ]  # fmt: skip
    for minutes, act, facts in acts:
        clock = FixedClock(NOW - timedelta(minutes=minutes))
        with Box.open(home, clock=clock, actor="server") as box, box.db.write() as tx:
            box.ledger.append(
                tx, f"rollout.{act}", f"rollout:{ROLLOUT}", {"version": "bike-rentals@5", **facts}
            )
