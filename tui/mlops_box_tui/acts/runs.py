"""Train, do a run again, cancel one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mlops_box.box import Box
from mlops_box.errors import NotFoundError, UsageError
from mlops_box.units import format_duration
from mlops_box_tui.acts.act import Act, Done, Field, Form, Plan, reason_field

if TYPE_CHECKING:
    # The declaration's models are pydantic's: the list of runs does without.
    from mlops_box.project import RegisteredProject

_AGAIN = ("train", "check", "monitor")


class OfProject(Protocol):
    """A row that belongs to a project."""

    @property
    def project(self) -> str: ...


class RunLike(OfProject, Protocol):
    """A run, in the list or whole."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def state(self) -> str: ...


def training_lines(box: Box, project: RegisteredProject) -> list[str]:
    """What a training of a project costs and what comes of it."""
    from mlops_box.operations.backtest import training_seconds

    seconds, ended = training_seconds(box, project.name)
    cost = f"{format_duration(seconds)} (median of {ended})" if ended else "unknown: none has ended yet"
    champion = box.models.champion_ref(project.model_name)
    serve = project.declaration.serve.rollout
    if champion is None:
        follows = f"a version that passes its gates is {project.model_name}'s first champion"
    elif serve.is_declared:
        follows = f"a version that passes its gates takes over from {champion} by a rollout"
    else:
        follows = f"a version that passes its gates serves at once, instead of {champion}"
    lines = [f"trains {project.name}; usual time: {cost}", follows]
    under_way = len(box.runs.list(kind="train", state="running"))
    if under_way:
        lines.append(
            f"{under_way} training{'s run' if under_way > 1 else ' runs'} now; this one waits for it"
        )
    return lines


def _train_plan(box: Box, row: OfProject | None) -> Plan:
    known = box.projects.list()
    project = next((one for one in known if row is not None and one.name == row.project), None)
    if project is None and len(known) == 1:
        project = known[0]
    lines = training_lines(box, project) if project else ["trains a project: the folder with its mlops.toml"]
    if known:
        lines.append("known: " + ", ".join(f"{one.name} in {one.folder}" for one in known[:6]))
    return Plan(
        tuple(lines),
        (
            Field("project", "project's folder", str(project.folder) if project else ""),
            Field("snapshot", "snapshot, else data anew", optional=True),
        ),
    )


def project_field(project: RegisteredProject) -> Field:
    """Which folder the act is about: looked up, not asked."""
    return Field("project", "project", str(project.folder), fixed=True)


def check_arguments(form: Form) -> list[str]:
    """The command that checks what a form names."""
    return ["check", "--project", form["project"]]


def train_arguments(form: Form) -> list[str]:
    """The command that trains what a form names."""
    snapshot = form.get("snapshot", "")
    return ["train", "--project", form["project"], *(["--snapshot", snapshot] if snapshot else [])]


TRAIN: Act[OfProject | None] = Act(
    id="train", key="T", label="train", danger="confirm", needs_row=False,
    tooltip="Train a project: its gates decide whether the new version serves.",
    plan=_train_plan, cli=lambda _row, form: train_arguments(form),
)  # fmt: skip


def _again_applies(row: RunLike) -> str | None:
    if row.kind not in _AGAIN:
        return f"a {row.kind} run is not started again from here; only {', '.join(_AGAIN)}"
    return f"run {row.id} still runs" if row.state == "running" else None


def _again_plan(box: Box, row: RunLike) -> Plan:
    run = box.runs.get(row.id)
    if run.kind == "monitor":
        return Plan(
            (
                "compares live traffic of every model with its reference, alerts, and decides as [retrain] says",
            )
        )
    project = box.projects.get(run.project)
    folder = project_field(project)
    if run.kind == "check":
        return Plan(
            (f"reads the data of {project.name} anew and checks them against its contract",), (folder,)
        )
    result = run.result or {}
    snapshot = str(result.get("snapshot_id") or result.get("snapshot") or "")
    data = f"on the same data: snapshot {snapshot[:12]}" if snapshot else "on the data as they are now"
    return Plan(
        (*training_lines(box, project), data), (folder, Field("snapshot", "snapshot", snapshot, fixed=True))
    )


def _again_arguments(row: RunLike, form: Form) -> list[str]:
    if row.kind == "train":
        return train_arguments(form)
    return check_arguments(form) if row.kind == "check" else ["monitor"]


RERUN: Act[RunLike] = Act(
    id="rerun", key="R", label="rerun", danger="confirm",
    tooltip="Start the run again: a training on the same snapshot, a check or monitoring on what is there now.",
    plan=_again_plan, cli=_again_arguments, applies=_again_applies,
)  # fmt: skip


def _cancel_plan(box: Box, row: RunLike) -> Plan:
    run = box.runs.get(row.id)
    if run.state != "running":
        raise UsageError(f"run {run.id} is {run.state}: there is nothing to cancel")
    steps = box.runs.steps(run.id)
    ran = format_duration((box.clock.now() - run.started_at).total_seconds())
    at = f"in {steps[-1].name!r}, step {len(steps)}" if steps else "before its first step"
    alive = (
        f"process {run.owner.pid} is told to stop" if run.owner.is_alive() else "its process is gone already"
    )
    return Plan(
        (
            f"{run.kind} of {run.project} has run for {ran}, now {at}",
            "it is closed as cancelled and can publish nothing any more",
            alive,
        ),
        (reason_field(),),
    )


def _cancel(box: Box, row: RunLike, form: Form) -> Done:
    from mlops_box.operations.cancel import cancel

    outcome = cancel(box, row.id, reason=form["reason"])
    told = "its process was told to stop" if outcome.told else "its process was gone already"
    return Done(f"run {outcome.run.id} is cancelled; {told}")


CANCEL: Act[RunLike] = Act(
    id="cancel", key="X", label="cancel", many=True, danger="confirm",
    tooltip="Cancel the run: it is closed at once, and its process is told to stop.",
    plan=_cancel_plan, run=_cancel,
    cli=lambda row, form: ["runs", "cancel", row.id, "--reason", form["reason"]],
    applies=lambda row: None if row.state == "running" else f"the run is {row.state}",
)  # fmt: skip


class OfModel(Protocol):
    """A row that is about a model."""

    @property
    def model(self) -> str: ...


def project_of_model(box: Box, model: str) -> RegisteredProject:
    """The project that trains a model.

    Raises:
        NotFoundError: The box knows none.
    """
    project = box.projects.for_model(model)
    if project is None:
        raise NotFoundError(f"no project of this box trains {model}", hint="mlops-box train --project DIR")
    return project


def _retrain_plan(box: Box, row: OfModel) -> Plan:
    project = project_of_model(box, row.model)
    return Plan(tuple(training_lines(box, project)), (project_field(project),))


RETRAIN: Act[OfModel] = Act(
    id="retrain", key="T", label="train", danger="confirm",
    tooltip="Train the model again, on the data as they are now.",
    plan=_retrain_plan, cli=lambda _row, form: train_arguments(form),
)  # fmt: skip
