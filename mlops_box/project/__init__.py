"""A project: ``mlops.toml`` as typed values, with errors that name file, line and key."""

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
