"""Accept a suggestion, or decline it; from the decision itself, or from the alert that led to it."""

from __future__ import annotations

from mlops_box.box import Box
from mlops_box.errors import NotFoundError
from mlops_box.monitoring.decisions import Decision
from mlops_box.operations.views import AlertRow, DecisionRow
from mlops_box_tui.acts.act import Act, Done, Field, Form, Plan, reason_field
from mlops_box_tui.acts.runs import training_lines


def _effect(box: Box, decision: Decision) -> tuple[str, ...]:
    lines = [f"{decision.trigger}: {decision.reason}"]
    return (*lines, *training_lines(box, box.projects.get(decision.project)))


def _suggested(row: DecisionRow) -> str | None:
    return None if row.state == "suggested" else f"the decision is {row.state}, no suggestion"


ACCEPT: Act[DecisionRow] = Act(
    id="accept", key="A", label="accept", many=True, danger="confirm",
    tooltip="Accept the suggestion: the training starts, its gates decide.",
    plan=lambda box, row: Plan(_effect(box, box.decisions.get(row.id))),
    cli=lambda row, _form: ["decisions", "accept", row.id], applies=_suggested,
)  # fmt: skip


def _decline_plan(box: Box, row: DecisionRow) -> Plan:
    decision = box.decisions.get(row.id)
    return Plan(
        (
            f"{decision.trigger}: {decision.reason}",
            "nothing is trained; the same evidence does not suggest it again",
        ),
        (reason_field(),),
    )


def _decline(box: Box, row: DecisionRow, form: Form) -> Done:
    from mlops_box.operations.decide import decline

    return Done(f"declined: {decline(box, row.id, reason=form['reason']).act} {row.model}")


DECLINE: Act[DecisionRow] = Act(
    id="decline", key="X", label="decline", many=True, danger="confirm",
    tooltip="Decline the suggestion: nothing is trained.",
    plan=_decline_plan, run=_decline, applies=_suggested,
    cli=lambda row, form: ["decisions", "decline", row.id, "--reason", form["reason"]],
)  # fmt: skip


def _of_alert_plan(box: Box, row: AlertRow) -> Plan:
    suggested = box.decisions.list(state="suggested", model=row.model)
    decision = next((one for one in suggested if one.alert_id == row.id), None)
    if decision is None:
        raise NotFoundError(
            "no suggestion waits for this alert",
            hint="T trains the model; Enter shows what the policy decided",
        )
    return Plan(_effect(box, decision), (Field("decision", "decision", decision.id, fixed=True),))


ACCEPT_OF_ALERT: Act[AlertRow] = Act(
    id="accept-suggestion", key="R", label="retrain", danger="confirm",
    tooltip="Accept the suggestion that the alert led to: the training starts, its gates decide.",
    plan=_of_alert_plan, cli=lambda _row, form: ["decisions", "accept", form["decision"]],
)  # fmt: skip
