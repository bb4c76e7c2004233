"""``mlops-box alerts``."""

from __future__ import annotations

from pathlib import Path

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, printable, table

_STATES = ["open", "acknowledged", "resolved"]


@click.group("alerts", short_help="Alerts: list, show, acknowledge.", invoke_without_command=True)
@click.option("--follow", is_flag=True, help="Print every change as it happens, until interrupted.")
@home_option
@json_option
@click.pass_context
def command(context: click.Context, follow: bool, home: Path | None, as_json: bool) -> None:
    """Alerts: list, show, acknowledge.

    At most one unresolved alert per model and kind (drift, quality, data, pipeline; device: one a device). It resolves by itself when the
    newest window of the champion is fine again.
    """
    if context.invoked_subcommand is not None:
        if follow:
            raise click.UsageError("--follow stands alone: mlops-box alerts --follow", context)
    elif follow:
        _follow(home, as_json)
    else:
        click.echo(context.get_help())


def _follow(home: Path | None, as_json: bool) -> None:
    """Every change of an alert from now on, a line each (with --json an object a line)."""
    import json

    from mlops_box.operations.follow import alert_changes

    with open_box(home, read_only=True) as box:
        for change in alert_changes(box):
            line = json.dumps(change.to_dict()) if as_json else printable(change.line())
            click.echo(line)


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
        now = box.clock.now()
    emit(
        [alert.to_dict() for alert in alerts],
        as_json=as_json,
        text=lambda: table(
            ["ALERT", "STATE", "KIND", "SEVERITY", "SEEN", "UPDATED", "TITLE"],
            [
                (
                    alert.id,
                    "snoozed" if alert.is_snoozed(now) else alert.state,
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


@command.command("unack", short_help="Take an acknowledgement back.")
@click.argument("alert")
@home_option
@json_option
def unack(alert: str, home: Path | None, as_json: bool) -> None:
    """Take an acknowledgement or a snooze back: the alert is open again."""
    with open_box(home) as box:
        changed = box.alerts.unacknowledge(alert)
    emit(changed.to_dict(), as_json=as_json, text=f"alert {changed.id} is open again")


@command.command("snooze", short_help="Be quiet for a while.")
@click.argument("alert")
@click.option("--for", "duration", required=True, help="How long: 2h, 3d.")
@click.option("--note", required=True, help="Why it can wait.")
@home_option
@json_option
def snooze(alert: str, duration: str, note: str, home: Path | None, as_json: bool) -> None:
    """Acknowledge for a while: it goes on counting but notifies nobody; afterwards it is open again."""
    from mlops_box.clock import isoformat
    from mlops_box.errors import UsageError
    from mlops_box.units import parse_duration

    try:
        length = parse_duration(duration)
    except ValueError as error:
        raise UsageError(str(error), hint="--for 2d") from None
    with open_box(home) as box:
        changed = box.alerts.snooze(alert, box.clock.now() + length, note)
    assert changed.snoozed_until is not None
    text = f"alert {changed.id} is quiet until {isoformat(changed.snoozed_until)}"
    emit(changed.to_dict(), as_json=as_json, text=text)


@command.command("resolve", short_help="Close an alert by hand.")
@click.argument("alert")
@click.option("--reason", required=True, help="Why it is over; it stands in the ledger.")
@home_option
@json_option
def resolve(alert: str, reason: str, home: Path | None, as_json: bool) -> None:
    """Close an alert by hand. New evidence of the same kind opens another one; the same evidence does, too, at the next
    monitor run, if it still stands: acknowledge or snooze what is known and lasts."""
    with open_box(home) as box:
        changed = box.alerts.resolve(alert, reason=reason)
    emit(changed.to_dict(), as_json=as_json, text=f"alert {changed.id} is resolved: {printable(reason)}")


@command.command("notify", short_help="Send what waits to be sent.")
@click.option("--test", metavar="PROJECT", help="Send a test message to every target of a project instead.")
@home_option
@json_option
def notify_command(test: str | None, home: Path | None, as_json: bool) -> None:
    """Send what waits for the targets of [notify]; every monitor run does this too.

    Exit code 6 where a target could not be reached; what was not sent stays queued.
    """
    from mlops_box.errors import UnavailableError
    from mlops_box.operations.notify import notify, send_test

    with open_box(home) as box:
        outcomes = send_test(box.projects.get(test)) if test else notify(box)
    emit(
        [item.to_dict() for item in outcomes],
        as_json=as_json,
        text=lambda: table(
            ["PROJECT", "TARGET", "SENT", "QUEUED", "DROPPED", "ERROR"],
            [(o.project, o.target, o.sent, o.queued, o.dropped, printable(o.error or "")) for o in outcomes],
            empty="no project declares [notify] targets",
        ),
    )
    failed = [item for item in outcomes if item.error]
    if failed:
        raise UnavailableError(
            f"{failed[0].project}: target {failed[0].target}: {failed[0].error}",
            hint="mlops-box alerts notify tries again",
        )
