"""Start a rollout, hold it, let it go on, skip the rest of it, end it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mlops_box.box import Box
from mlops_box.errors import NotFoundError
from mlops_box.operations.views import VersionRow
from mlops_box_tui.acts.act import Act, Done, Form, Plan, Undo, reason_field
from mlops_box_tui.acts.models import changed_metrics, not_a_candidate, setback_lines
from mlops_box_tui.acts.runs import OfModel, project_of_model

if TYPE_CHECKING:
    from mlops_box.operations.rollout import RolloutStatus


def _open(box: Box, model: str) -> RolloutStatus:
    from mlops_box.operations.rollout import status

    found = next((one for one in status(box, model) if one.rollout.is_open), None)
    if found is None:
        raise NotFoundError(f"no rollout of {model} is under way", hint="S on an accepted version starts one")
    return found


def status_lines(found: RolloutStatus) -> list[str]:
    """Where a rollout stands, in numbers."""
    one = found.rollout
    lines = [f"{one.ref} over {one.base_ref}: {one.stage_text}"]
    if found.verdict is not None:
        lines.append(f"{found.verdict.requests} requests of at least {one.plan.min_requests} on this stage")
        lines += [f"{signal.name}: {signal.text}" for signal in found.verdict.signals]
    return [*lines, f"waits for: {found.waits_for}"]


def _plan(*effects: str) -> Callable[[Box, OfModel], Plan]:
    def plan(box: Box, row: OfModel) -> Plan:
        return Plan((*status_lines(_open(box, row.model)), *effects), (reason_field(),))

    return plan


def _command(verb: str) -> Callable[[OfModel, Form], list[str]]:
    return lambda row, form: ["rollout", verb, row.model, "--reason", form["reason"]]


def _start_plan(box: Box, row: VersionRow) -> Plan:
    from mlops_box.serving.rollout.plan import stages

    plan = project_of_model(box, row.model).declaration.serve.rollout
    version, base = box.models.get(row.ref), box.models.champions().get(row.model)
    lines = [
        f"{row.ref} over {base.ref if base else 'no champion'}: "
        + ", ".join(str(one) for one in stages(plan))
    ]
    lines += setback_lines(box, version) + changed_metrics(base, version)
    lines.append("proof that it is worse ends the rollout by itself; the champion answers meanwhile")
    return Plan(tuple(lines), (reason_field(),))


def _start(box: Box, row: VersionRow, form: Form) -> Done:
    from mlops_box.operations.rollout import start

    return Done(status_lines(start(box, row.ref, reason=form["reason"]))[0])


START: Act[VersionRow] = Act(
    id="rollout-start", key="S", label="start rollout", danger="confirm",
    tooltip="Let the version in step by step, by the plan its project declares.",
    plan=_start_plan, run=_start, applies=not_a_candidate,
    cli=lambda row, form: ["rollout", "start", row.ref, "--reason", form["reason"]],
)  # fmt: skip


def _while(model: str, *, held: bool) -> Callable[[Box], str | None]:
    def gone(box: Box) -> str | None:
        found = box.rollouts.open(model)
        if not found:
            return "the rollout is over"
        return None if (found[0].paused_at is not None) is held else "somebody else changed it meanwhile"

    return gone


def _pause(box: Box, row: OfModel, form: Form) -> Done:
    from mlops_box.operations.rollout import pause

    found = pause(box, row.model, reason=form["reason"])
    undo = Undo(RESUME, row, {"reason": "undo: pause"}, _while(row.model, held=True))
    return Done(f"the rollout of {found.rollout.ref} is held", undo)


PAUSE: Act[OfModel] = Act(
    id="rollout-pause", key="H", label="hold", danger="none",
    tooltip="Hold the model's rollout where it is; proof that the new version is bad still ends it.",
    plan=_plan("it stays where it is until somebody lets it go on"), run=_pause,
    cli=_command("pause"),
)  # fmt: skip


def _resume(box: Box, row: OfModel, form: Form) -> Done:
    from mlops_box.operations.rollout import resume

    found = resume(box, row.model, reason=form["reason"])
    undo = Undo(PAUSE, row, {"reason": "undo: resume"}, _while(row.model, held=False))
    return Done(f"the rollout of {found.rollout.ref} goes on", undo)


RESUME: Act[OfModel] = Act(
    id="rollout-resume", key="C", label="go on", danger="none",
    tooltip="Let a held rollout go on; the time it stood still does not count.",
    plan=_plan("it goes on; the time it stood still does not count"), run=_resume,
    cli=_command("resume"),
)  # fmt: skip


def _skip(box: Box, row: OfModel, form: Form) -> Done:
    from mlops_box.operations.rollout import promote_now

    found = promote_now(box, row.model, reason=form["reason"])
    return Done(f"{found.rollout.ref} is the champion now, instead of {found.rollout.base_ref}")


SKIP: Act[OfModel] = Act(
    id="rollout-promote", key="K", label="skip rest", danger="confirm",
    tooltip="Skip the rest of the rollout: the new version becomes champion now.",
    plan=_plan("the rest is skipped: it answers every request from now on"), run=_skip,
    cli=_command("promote"),
)  # fmt: skip


def _abort(box: Box, row: OfModel, form: Form) -> Done:
    from mlops_box.operations.rollout import abort

    found = abort(box, row.model, reason=form["reason"])
    return Done(f"the rollout of {found.rollout.ref} is over; {found.rollout.base_ref} answers every request")


ABORT: Act[OfModel] = Act(
    id="rollout-abort", key="X", label="end rollout", danger="confirm",
    tooltip="End the model's rollout: the champion answers every request again.",
    plan=_plan("it ends, and the champion answers every request"), run=_abort,
    cli=_command("abort"),
)  # fmt: skip

ROLLOUT_ACTS = (PAUSE, RESUME, SKIP, ABORT)
