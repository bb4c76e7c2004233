"""Acknowledge an alert, be quiet about it for a while, open it again, close it."""

from __future__ import annotations

from collections.abc import Callable

from mlops_box.box import Box
from mlops_box.errors import UsageError
from mlops_box.operations.views import AlertRow
from mlops_box.units import parse_duration
from mlops_box_tui.acts.act import Act, Done, Field, Form, Plan, Undo


def _plan(effect: str, *fields: Field) -> Callable[[Box, AlertRow], Plan]:
    def plan(box: Box, row: AlertRow) -> Plan:
        alert = box.alerts.get(row.id)
        return Plan(
            (f"{alert.severity}: {alert.title}", f"seen {alert.count} times, {alert.state}", effect), fields
        )

    return plan


def _while(alert_id: str, state: str) -> Callable[[Box], str | None]:
    def gone(box: Box) -> str | None:
        now = box.alerts.get(alert_id).state
        return None if now == state else f"the alert is {now} meanwhile"

    return gone


def _unresolved(row: AlertRow) -> str | None:
    return "the alert is resolved" if row.state == "resolved" else None


def _acknowledge(box: Box, row: AlertRow, form: Form) -> Done:
    alert = box.alerts.acknowledge(row.id, form["note"])
    return Done(f"acknowledged: {alert.title}", Undo(UNACKNOWLEDGE, row, gone=_while(row.id, "acknowledged")))


ACKNOWLEDGE: Act[AlertRow] = Act(
    id="ack", key="A", label="acknowledge", many=True, danger="none",
    tooltip="Say that you know: the alert goes on counting and resolves by itself.",
    plan=_plan("it goes on counting and resolves by itself", Field("note", "what is known, what is done")),
    run=_acknowledge, applies=_unresolved, cli=lambda row, form: ["alerts", "ack", row.id, "--note", form["note"]],
)  # fmt: skip


def _snooze(box: Box, row: AlertRow, form: Form) -> Done:
    try:
        length = parse_duration(form["for"])
    except ValueError as error:
        raise UsageError(str(error), hint="2h or 3d") from None
    alert = box.alerts.snooze(row.id, box.clock.now() + length, form["note"])
    assert alert.snoozed_until is not None
    text = f"quiet until {alert.snoozed_until:%Y-%m-%d %H:%M} UTC: {alert.title}"
    return Done(text, Undo(UNACKNOWLEDGE, row, gone=_while(row.id, "acknowledged")))


SNOOZE: Act[AlertRow] = Act(
    id="snooze", key="S", label="snooze", many=True, danger="none",
    tooltip="Acknowledge for a while: it notifies nobody, and is open again afterwards.",
    plan=_plan(
        "it notifies nobody meanwhile; afterwards it is open again",
        Field("note", "why it can wait"), Field("for", "how long (2h, 3d)", "1d"),
    ),
    run=_snooze, applies=_unresolved,
    cli=lambda row, form: ["alerts", "snooze", row.id, "--for", form["for"], "--note", form["note"]],
)  # fmt: skip


def _unacknowledge(box: Box, row: AlertRow, _form: Form) -> Done:
    note = box.alerts.get(row.id).note
    alert = box.alerts.unacknowledge(row.id)
    undo = Undo(ACKNOWLEDGE, row, {"note": note}, _while(row.id, "open")) if note else None
    return Done(f"open again: {alert.title}", undo)


def _acknowledged(row: AlertRow) -> str | None:
    return None if row.state == "acknowledged" else f"the alert is {row.state}"


UNACKNOWLEDGE: Act[AlertRow] = Act(
    id="unack", key="U", label="un-ack", many=True, danger="none",
    tooltip="Take an acknowledgement or a snooze back: the alert is open again.",
    plan=_plan("it is open again, and notifies"), run=_unacknowledge, applies=_acknowledged,
    cli=lambda row, _form: ["alerts", "unack", row.id],
)  # fmt: skip


def _resolve(box: Box, row: AlertRow, form: Form) -> Done:
    return Done(f"resolved: {box.alerts.resolve(row.id, reason=form['reason']).title}")


RESOLVE: Act[AlertRow] = Act(
    id="resolve", key="X", label="resolve", many=True, danger="confirm",
    tooltip="Close the alert by hand; if its evidence still stands, monitoring opens another one.",
    plan=_plan(
        "it is closed; the next monitor run opens another one if its evidence still stands",
        Field("reason", "why it is over"),
    ),
    run=_resolve, applies=_unresolved,
    cli=lambda row, form: ["alerts", "resolve", row.id, "--reason", form["reason"]],
)  # fmt: skip
