"""Deployments of a box: its registered projects with the schedules of their ``mlops.toml``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlops_box.home import Home
from mlops_box.project import RegisteredProject
from mlops_box_flows.tagging import box_tag

# Quiet hours by default; a project's own [schedule] housekeeping adds to it, the earliest one counts.
HOUSEKEEPING_CRON = "17 2 * * *"


@dataclass(frozen=True)
class Plan:
    """One deployment as it should be; two equal plans need no second registration."""

    entrypoint: str
    flow: str
    name: str
    cron: str | None
    parameters: tuple[tuple[str, Any], ...]
    tag: str

    @property
    def full_name(self) -> str:
        return f"{self.flow}/{self.name}"


def plans(home: Home, projects: list[RegisteredProject]) -> list[Plan]:
    """What the box's runner must serve."""
    tag = box_tag(home)
    root = str(home.root)
    found = [_housekeeping(tag, root, projects)]
    for project in projects:
        schedule = project.declaration.schedule
        shared = {"home": root}
        training = {"project": project.name, "folder": str(project.folder), **shared}
        watching = {"model": project.model_name, "subject": project.name, **shared}
        found += [
            _plan("train", project.name, schedule.train, training, tag),
            _plan("monitor", project.name, schedule.monitor, watching, tag),
            *_materializing(project, shared, tag),
            _plan("score", project.name, None, {"model": project.model_name, **shared}, tag),
        ]
    return found


def _materializing(project: RegisteredProject, shared: dict[str, Any], tag: str) -> list[Plan]:
    """Nothing for a project without feature views."""
    if not project.declaration.features.views:
        return []
    parameters = {"project": project.name, "subject": project.name, **shared}
    return [_plan("materialize", project.name, project.declaration.schedule.materialize, parameters, tag)]


def _housekeeping(tag: str, root: str, projects: list[RegisteredProject]) -> Plan:
    declared = sorted(
        p.declaration.schedule.housekeeping for p in projects if p.declaration.schedule.housekeeping
    )
    return _plan("housekeeping", "box", declared[0] if declared else HOUSEKEEPING_CRON, {"home": root}, tag)


def _plan(flow: str, name: str, cron: str | None, parameters: dict[str, Any], tag: str) -> Plan:
    # Dotted: a path entrypoint loads a second copy of the module.
    entrypoint = f"mlops_box_flows.{flow}.{flow}"
    return Plan(entrypoint, flow, name, cron, tuple(sorted(parameters.items())), tag)


def to_deployment(plan: Plan) -> Any:
    """The plan as Prefect's own value, ready for a runner."""
    from prefect.deployments.runner import RunnerDeployment
    from prefect.schedules import Cron

    # No concurrency limit of Prefect's: its lease is renewed by the event loop that the operation keeps busy. The
    # lanes (see conduct) do the same work by a lock that the kernel frees.
    return RunnerDeployment.from_entrypoint(
        plan.entrypoint,
        name=plan.name,
        schedules=[Cron(plan.cron, timezone="UTC")] if plan.cron else [],
        parameters=dict(plan.parameters),
        tags=[plan.tag],
        enforce_parameter_schema=False,
    )
