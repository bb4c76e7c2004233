"""``mlops-box decisions``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, printable, table

_STATES = ["withheld", "suggested", "pending", "issued", "done", "failed"]


@click.group("decisions", short_help="What the policy decided; accept a suggestion or decline it.")
def command() -> None:
    """What the policy decided; accept a suggestion or decline it.

    withheld: nothing was done, and why not. suggested: it waits for you. pending: it will be started. issued: it runs.
    done, failed: it ended.
    """


@command.command("list", short_help="Decisions, newest first.")
@click.option("--state", type=click.Choice(_STATES), help="Only these.")
@click.option("--model", help="Only for this model.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@home_option
@json_option
def list_command(state: str | None, model: str | None, limit: int, home: Path | None, as_json: bool) -> None:
    """Decisions, newest first, as their trainings stand now."""
    from mlops_box.operations.decide import settle

    with open_box(home) as box:
        settle(box)
        decisions = box.decisions.list(state=state, model=model, limit=limit)  # type: ignore[arg-type]
    emit(
        [decision.to_dict() for decision in decisions],
        as_json=as_json,
        text=lambda: table(
            ["DECISION", "STATE", "MODEL", "TRIGGER", "DECIDED", "RESULT", "REASON"],
            [
                (
                    item.id,
                    item.state,
                    item.model,
                    item.trigger,
                    item.decided_at.strftime("%Y-%m-%d %H:%M:%S"),
                    item.facts.get("version") or item.facts.get("result"),
                    item.reason,
                )
                for item in decisions
            ],
            empty="nothing was decided yet; mlops-box monitor looks for reasons",
        ),
    )


@command.command("show", short_help="One decision with its reasons.")
@click.argument("decision")
@home_option
@json_option
def show(decision: str, home: Path | None, as_json: bool) -> None:
    """One decision: what was seen, what the policy said, what followed."""
    from mlops_box.operations.decide import settle
    from mlops_box.operations.why_watched import explain_decision

    with open_box(home) as box:
        settle(box)
        explanation = explain_decision(box, decision)
    emit(
        explanation.facts["decision"],
        as_json=as_json,
        text="\n".join(printable(line) for line in explanation.lines),
    )


@command.command("accept", short_help="Accept a suggestion: retrain.")
@click.argument("decision")
@click.option("--direct", is_flag=True, help="Train in this process, without the orchestrator.")
@home_option
@json_option
def accept_command(decision: str, direct: bool, home: Path | None, as_json: bool) -> None:
    """Accept a suggestion: the training starts, its gates decide whether the new version serves."""
    from mlops_box.operations.decide import accept
    from mlops_box.operations.launch import DirectLauncher

    with open_box(home) as box:
        accepted = accept(box, decision, DirectLauncher(box) if direct else None)
    if not direct:
        # The monitor flow dispatches what is pending, to the runner where one is up.
        from mlops_box.cli.flow_process import flow_outcome

        arguments = ["--model", accepted.model, *(["--home", str(home)] if home is not None else [])]
        flow_outcome("monitor", [*arguments, "--trigger", f"decision {accepted.id}"])
        with open_box(home) as box:
            accepted = box.decisions.get(accepted.id)
    emit(accepted.to_dict(), as_json=as_json, text=_said(accepted))


@command.command("decline", short_help="Decline a suggestion.")
@click.argument("decision")
@click.option("--reason", required=True, help="Why; it stands in the ledger.")
@home_option
@json_option
def decline_command(decision: str, reason: str, home: Path | None, as_json: bool) -> None:
    """Decline a suggestion: nothing is trained, and the same evidence does not suggest it again."""
    from mlops_box.operations.decide import decline

    with open_box(home) as box:
        declined = decline(box, decision, reason=reason)
    emit(declined.to_dict(), as_json=as_json, text=_said(declined))


def _said(decision: Any) -> str:
    text = f"decision {decision.id} is {decision.state}"
    if decision.facts.get("text"):
        text += f": {printable(str(decision.facts['text']))}"
    if decision.facts.get("version"):
        text += f"\n{decision.facts['version']}: mlops-box why {decision.facts['version']}"
    return text
