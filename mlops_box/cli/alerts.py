"""``mlops-box alerts``."""

from __future__ import annotations

from pathlib import Path

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, printable, table

_STATES = ["open", "acknowledged", "resolved"]


@click.group("alerts", short_help="Alerts: list, show, acknowledge.")
def command() -> None:
    """Alerts: list, show, acknowledge.

    At most one unresolved alert per model and kind (drift, quality, data, pipeline). It resolves by itself when the
    newest window of the champion is fine again.
    """


@command.command("list", short_help="Alerts, the newest change first.")
@click.option("--state", type=click.Choice(_STATES), help="Only these.")
@click.option("--model", help="Only of this model.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@home_option
@json_option
def list_command(state: str | None, model: str | None, limit: int, home: Path | None, as_json: bool) -> None:
    """Alerts, the newest change first."""
    with open_box(home, read_only=True) as box:
        alerts = box.alerts.list(state=state, model=model, limit=limit)  # type: ignore[arg-type]
    emit(
        [alert.to_dict() for alert in alerts],
        as_json=as_json,
        text=lambda: table(
            ["ALERT", "STATE", "KIND", "SEVERITY", "SEEN", "UPDATED", "TITLE"],
            [
                (
                    alert.id,
                    alert.state,
                    alert.kind,
                    alert.severity,
                    alert.count,
                    alert.updated_at.strftime("%Y-%m-%d %H:%M:%S"),
                    alert.title,
                )
                for alert in alerts
            ],
            empty="no alert; mlops-box monitor looks",
        ),
    )


@command.command("show", short_help="One alert with its evidence.")
@click.argument("alert")
@home_option
@json_option
def show(alert: str, home: Path | None, as_json: bool) -> None:
    """One alert with its evidence, what would have kept it silent, and what followed."""
    from mlops_box.operations.why_watched import explain_alert

    with open_box(home, read_only=True) as box:
        explanation = explain_alert(box, alert)
    emit(
        explanation.facts["alert"],
        as_json=as_json,
        text="\n".join(printable(line) for line in explanation.lines),
    )


@command.command("ack", short_help="Say that you know.")
@click.argument("alert")
@click.option("--note", required=True, help="What is known, what is done.")
@home_option
@json_option
def ack(alert: str, note: str, home: Path | None, as_json: bool) -> None:
    """Say that you know: the alert goes on counting and resolves by itself."""
    with open_box(home) as box:
        changed = box.alerts.acknowledge(alert, note)
    emit(changed.to_dict(), as_json=as_json, text=f"alert {changed.id} is acknowledged: {printable(note)}")
