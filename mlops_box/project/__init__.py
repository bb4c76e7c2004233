"""A project: ``mlops.toml`` as typed values, with errors that name file, line and key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_box.lazy import on_first_use

if TYPE_CHECKING:
    from mlops_box.project.declaration import (
        BATCH_KEYS,
        ChampionGate,
        ColumnRule,
        Contract,
        Data,
        Gates,
        MetricGate,
        Model,
        Project,
        Schedule,
        SliceGate,
        Split,
        Task,
    )
    from mlops_box.project.edge import Edge
    from mlops_box.project.load import PROJECT_FILE, LoadedProject, json_schema, load_project, parse_project
    from mlops_box.project.monitor import Monitor
    from mlops_box.project.registry import ProjectRegistry, RegisteredProject
    from mlops_box.project.retrain import Retrain
    from mlops_box.project.serve import Serve

__all__ = [
    "BATCH_KEYS",
    "PROJECT_FILE",
    "ChampionGate",
    "ColumnRule",
    "Contract",
    "Data",
    "Edge",
    "Gates",
    "LoadedProject",
    "MetricGate",
    "Model",
    "Monitor",
    "Project",
    "ProjectRegistry",
    "RegisteredProject",
    "Retrain",
    "Schedule",
    "Serve",
    "SliceGate",
    "Split",
    "Task",
    "json_schema",
    "load_project",
    "parse_project",
]

# Where what is not part of the declaration itself lives.
_ELSEWHERE = {
    "Edge": "edge", "Monitor": "monitor", "Retrain": "retrain", "Serve": "serve",
    "ProjectRegistry": "registry", "RegisteredProject": "registry",
    "PROJECT_FILE": "load", "LoadedProject": "load", "json_schema": "load", "load_project": "load", "parse_project": "load",
}  # fmt: skip

# Pydantic and its models, 0.13 s, stay out of programs that read no declaration.
__getattr__ = on_first_use(__name__, {name: _ELSEWHERE.get(name, "declaration") for name in __all__})
