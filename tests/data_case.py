"""A small project over any data file, for tests of the data room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlops_box.box import Box
from mlops_box.data.gate import Admission, Gate
from mlops_box.project import LoadedProject, Project


def project_over(
    folder: Path,
    source: str,
    *,
    contract: dict[str, Any] | None = None,
    target: str = "y",
    features: list[str] | None = None,
    task: str = "regression",
    name: str = "case",
    **data: Any,
) -> LoadedProject:
    """A project in ``folder``; keyword arguments go to ``[data]``."""
    declaration = {
        "project": {"name": name},
        "data": {"source": source, "contract": contract or {}, **data},
        "model": {"task": task, "target": target, "features": features or ["x"]},
    }
    return LoadedProject(folder, Project.model_validate(declaration))


def admit(box: Box, project: LoadedProject) -> Admission:
    """Send the project's data through the gate of ``box``."""
    gate = Gate(
        db=box.db, objects=box.objects, ledger=box.ledger, clock=box.clock, snapshots=box.snapshots,
        scratch=box.home.scratch,
    )  # fmt: skip
    return gate.admit(project)


def footprint(box: Box) -> dict[str, Any]:
    """What a refused batch must not change: snapshots, objects, files."""
    return {
        "snapshots": box.db.read("SELECT id FROM snapshots ORDER BY id"),
        "objects": box.db.read("SELECT digest FROM objects ORDER BY digest"),
        "files": sorted(str(path) for path in box.home.objects.rglob("*") if path.is_file()),
        "scratch": sorted(path.name for path in box.home.scratch.iterdir()),
    }
