"""Check a project's data, look at live traffic: what makes snapshots and alerts."""

from __future__ import annotations

from mlops_box.box import Box
from mlops_box_tui.acts.act import Act, Plan
from mlops_box_tui.acts.runs import OfModel, OfProject, check_arguments, project_field


def _check_plan(box: Box, row: OfProject) -> Plan:
    project = box.projects.get(row.project)
    newest = next(iter(box.snapshots.list(project.name, limit=1)), None)
    had = f"the newest snapshot has {newest.rows:,} rows" if newest else "there is no snapshot yet"
    return Plan(
        (f"reads the data of {project.name} and checks them against its contract", had,
         "bad rows go to quarantine; too many of them, and the batch is refused"),
        (project_field(project),),
    )  # fmt: skip


CHECK: Act[OfProject] = Act(
    id="check", key="C", label="check", danger="none",
    tooltip="Check the project's data against its contract; good data become a snapshot.",
    plan=_check_plan, cli=lambda _row, form: check_arguments(form),
)  # fmt: skip


def _monitor_plan(box: Box, row: OfModel | None) -> Plan:
    model = row.model if row is not None else None
    windows = box.windows.list(model, limit=1)
    last = f"the newest window has {windows[0].rows:,} rows" if windows else "no window yet"
    champions = len(box.models.champions())
    which = model or f"{champions} model{'s' * (champions != 1)}"
    return Plan(
        (f"compares live traffic of {which} with its reference, alerts, and decides as [retrain] says", last)
    )


MONITOR: Act[OfModel | None] = Act(
    id="monitor", key="M", label="monitor", danger="none", needs_row=False,
    tooltip="Look at live traffic now: windows, alerts, decisions.",
    plan=_monitor_plan, cli=lambda row, _form: ["monitor", *([row.model] if row is not None else [])],
)  # fmt: skip
