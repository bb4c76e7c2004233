"""Promote a version, roll a model back, approve a version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mlops_box.box import Box
from mlops_box.errors import NotFoundError
from mlops_box.models.approvals import author_of
from mlops_box.models.store import LAST_GOOD
from mlops_box.models.values import ModelVersion
from mlops_box.operations.views import VersionRow, setback_of
from mlops_box_tui.acts.act import Act, Done, Field, Form, Plan, Undo, reason_field
from mlops_box_tui.acts.runs import OfModel
from mlops_box_tui.look import age, number

_METRICS_SHOWN = 4


class VersionLike(OfModel, Protocol):
    """A row that is one version."""

    @property
    def ref(self) -> str: ...


@dataclass(frozen=True)
class VersionSubject:
    """A version named by an earlier act."""

    model: str
    ref: str


def changed_metrics(before: ModelVersion | None, after: ModelVersion) -> list[str]:
    """A line a metric: what it was, what it is."""
    if before is None:
        return [f"{name} {number(value)}" for name, value in list(after.metrics.items())[:_METRICS_SHOWN]]
    both = [name for name in after.metrics if name in before.metrics][:_METRICS_SHOWN]
    return [
        f"{name} {number(before.metrics[name])} -> {number(after.metrics[name])}"
        f" ({after.metrics[name] - before.metrics[name]:+.4g})"
        for name in both
    ]


def gates_line(version: ModelVersion) -> str:
    """How many gates a version passed."""
    judged = [gate for gate in version.gates if gate.passed is not None]
    passed = sum(gate.passed is True for gate in judged)
    return f"gates: {passed} of {len(version.gates)} passed" + (
        f", {len(version.gates) - len(judged)} could not be judged"
        if len(judged) < len(version.gates)
        else ""
    )


def champion_lines(box: Box, model: str, after: ModelVersion) -> list[str]:
    """What changes when another version becomes champion."""
    before = box.models.champions().get(model)
    lines = [f"champion of {model}: {f'v{before.number}' if before else 'none'} -> v{after.number}"]
    lines += changed_metrics(before, after)
    lines.append(gates_line(after))
    if before is not None:
        window = next((one for one in box.windows.list(model, limit=10) if one.number == before.number), None)
        if window is not None:
            lines.append(f"v{before.number} answered {window.rows:,} rows in its newest window")
    lines += [f"the rollout of {one.ref} ({one.stage_text}) ends with it" for one in box.rollouts.open(model)]
    lines.append("a running server answers with it within a second")
    return lines


def setback_lines(box: Box, version: ModelVersion) -> list[str]:
    """What a person should know who lets in a version that a rollout kept out."""
    found = setback_of(box, version.model, version.number)
    if found is None:
        return []
    when = f" {age((box.clock.now() - found.at).total_seconds())} ago" if found.at else ""
    return [f"{version.ref} was {found.word}{when}: {found.reason}"]


def while_champion(ref: str) -> Callable[[Box], str | None]:
    """An undo is fair only while what was done still stands."""
    model = ref.partition("@")[0]

    def gone(box: Box) -> str | None:
        now = box.models.champion_ref(model)
        return None if now == ref else f"the champion is {now or 'none'} meanwhile"

    return gone


def _promote_plan(box: Box, row: VersionLike) -> Plan:
    from mlops_box.operations.approval import require_approval

    version = box.models.get(row.ref)
    require_approval(box, version)
    lines = setback_lines(box, version) + champion_lines(box, row.model, version)
    return Plan(tuple(lines), (reason_field(),))


def _promote(box: Box, row: VersionLike, form: Form) -> Done:
    from mlops_box.operations.promote import promote

    outcome = promote(box, row.ref, reason=form["reason"])
    ref = outcome.version.ref
    if outcome.before in (None, ref):
        return Done(f"{ref} is the champion")
    undo = Undo(ROLL_BACK, row, {"reason": f"undo: promotion of {ref}"}, while_champion(ref))
    return Done(f"{ref} is the champion now, instead of {outcome.before}", undo)


def rejected(row: VersionRow) -> str | None:
    """For acts that only an accepted version allows."""
    return f"{row.ref} was rejected by its gates" if row.state == "rejected" else None


def not_a_candidate(row: VersionRow) -> str | None:
    """Why a version cannot become champion; ``None`` where it can."""
    return rejected(row) or (f"{row.ref} is the champion" if "champion" in row.aliases else None)


PROMOTE: Act[VersionRow] = Act(
    id="promote", key="P", label="promote", danger="confirm",
    tooltip="Make the version the champion, at once and without a rollout.",
    plan=_promote_plan, run=_promote, applies=not_a_candidate,
    cli=lambda row, form: ["models", "promote", row.ref, "--reason", form["reason"]],
)  # fmt: skip


def _roll_back_plan(box: Box, row: OfModel) -> Plan:
    aliases = box.models.aliases(row.model)
    good = aliases.get(LAST_GOOD)
    if good is None or good == aliases.get("champion"):
        raise NotFoundError(
            f"{row.model} has no earlier champion to go back to", hint="promote a version with P instead"
        )
    return Plan(
        tuple(champion_lines(box, row.model, box.models.get(f"{row.model}@{good}"))), (reason_field(),)
    )


def _roll_back(box: Box, row: OfModel, form: Form) -> Done:
    from mlops_box.operations.promote import roll_back

    outcome = roll_back(box, row.model, reason=form["reason"])
    ref = outcome.version.ref
    undo = None
    if outcome.before is not None:
        again = VersionSubject(row.model, outcome.before)
        undo = Undo(PROMOTE, again, {"reason": f"undo: roll-back to {ref}"}, while_champion(ref))
    return Done(f"{ref} is the champion again, instead of {outcome.before}", undo)


ROLL_BACK: Act[OfModel] = Act(
    id="rollback", key="B", label="roll back", danger="confirm",
    tooltip="Put the champion before the present one back.",
    plan=_roll_back_plan, run=_roll_back,
    cli=lambda row, form: ["rollback", row.model, "--reason", form["reason"]],
)  # fmt: skip


def _approve_plan(box: Box, row: VersionRow) -> Plan:
    from mlops_box.operations.approval import lacks_approval

    version = box.models.get(row.ref)
    lines = [f"{row.ref} is approved by {box.actor}", gates_line(version)]
    if not lacks_approval(box, version):
        lines.append("it waits for no approval: its project asks for none, or one stands already")
    fields = [reason_field("what was looked at")]
    if author_of(version) == box.actor:
        lines.append(f"{box.actor} trained it: approving it breaks the glass, and the ledger says so")
        fields.append(Field("break_glass", "break the glass: yes"))
    else:
        lines.append(f"it was made by {version.created_by}")
    return Plan(tuple(lines), tuple(fields))


def _approve(box: Box, row: VersionRow, form: Form) -> Done:
    from mlops_box.operations.approve import approve

    outcome = approve(box, row.ref, reason=form["reason"], break_glass=_breaks_glass(form))
    followed = outcome.note or "it is the champion now"
    return Done(f"{row.ref} is approved by {outcome.approval.approved_by}: {followed}")


def _breaks_glass(form: Form) -> bool:
    return form.get("break_glass", "").casefold() == "yes"


APPROVE: Act[VersionRow] = Act(
    id="approve", key="V", label="approve", danger="confirm",
    tooltip="Say yes to a version whose project asks for that before it serves.",
    plan=_approve_plan, run=_approve,
    cli=lambda row, form: [
        "models", "approve", row.ref, "--reason", form["reason"], *["--break-glass"] * _breaks_glass(form),
    ],
    applies=rejected,
)  # fmt: skip
