"""The parts of the flows that need no Prefect server: plans, reports, text, marks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlops_box_flows.deployments import HOUSEKEEPING_CRON, plans
from mlops_box_flows.marks import forget, marked, owner_of
from mlops_box_flows.reports import artifact_key, render
from mlops_box_flows.text import as_text

from mlops_box.box import Box
from mlops_box.project import parse_project
from mlops_box.runs import this_process

TOML = """
[project]
name = "bikes"
[data]
source = "d.csv"
[model]
name = "rides"
task = "regression"
target = "y"
features = ["x"]
[schedule]
train = "0 3 * * *"
"""


def registered(box: Box, tmp_path: Path, text: str) -> list[Any]:
    box.projects.register(SimpleNamespace(  # type: ignore[arg-type]
        name="bikes", model_name="rides", digest=text, folder=tmp_path, declaration=parse_project(text),
    ))  # fmt: skip
    return box.projects.list()


def test_each_project_gets_its_deployments_with_its_schedules(box: Box, tmp_path: Path) -> None:
    found = {plan.full_name: plan for plan in plans(box.home, registered(box, tmp_path, TOML))}
    assert {name: plan.cron for name, plan in found.items()} == {
        "housekeeping/box": HOUSEKEEPING_CRON,
        "train/bikes": "0 3 * * *",
        "monitor/bikes": None,
        "score/bikes": None,
    }
    assert dict(found["train/bikes"].parameters)["folder"] == str(tmp_path)
    assert dict(found["monitor/bikes"].parameters)["model"] == "rides"
    assert all(":" not in plan.entrypoint for plan in found.values())


def test_only_a_changed_declaration_is_registered_again(box: Box, tmp_path: Path) -> None:
    before = plans(box.home, registered(box, tmp_path, TOML))
    assert plans(box.home, box.projects.list()) == before
    after = plans(box.home, registered(box, tmp_path, TOML.replace("0 3", "0 4")))
    assert [a.full_name for a, b in zip(after, before, strict=True) if a != b] == ["train/bikes"]


def test_two_boxes_on_one_prefect_server_tell_their_runs_apart(tmp_path: Path) -> None:
    tags = set()
    for name in ("a", "b"):
        with Box.open(tmp_path / name) as box:
            tags |= {plan.tag for plan in plans(box.home, [])}
    assert len(tags) == 2


def test_a_live_run_is_told_from_a_dead_one_by_its_mark(box: Box) -> None:
    identity = "0" * 8 + "-0000-4000-8000-" + "0" * 12
    with marked(box.home, identity):
        assert owner_of(box.home, identity) == this_process()
    assert owner_of(box.home, identity) is None
    forget(box.home, identity)
    assert owner_of(box.home, "../../etc/passwd") is None
    with pytest.raises(ValueError, match="no flow run id"):
        forget(box.home, "../up")


def test_a_report_cannot_be_bent_by_foreign_text() -> None:
    markdown = render({"rule": "a|b\n# big <script>", "gates": [{"name": "mae", "value": 1 / 3}], "none": []})
    assert "a\\|b # big \\<script>" in markdown
    assert "| mae | 0.333333 |" in markdown
    assert artifact_key("train", "Bike_rentals.v2") == "train-bike-rentals-v2"


def test_an_outcome_reads_as_lines() -> None:
    text = as_text(
        {"version": "m@1", "metrics": {"mae": 0.5}, "gates": [{"n": 1}], "notes": [], "x": "a\x1bb"}
    )
    assert text.splitlines() == [
        "version: m@1",
        "metrics:",
        "  mae: 0.5",
        "gates:",
        "  - n=1",
        "notes: -",
        "x: a�b",
    ]
