"""Tell people: from the ledger into an outbox, from the outbox to the declared targets.

The ledger is the source, so nothing that happened can be missed, however the process ended that noticed it. What cannot
be sent stays queued and is tried again; a message may arrive twice when the box is killed between sending and noting it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mlops_box.box import Box
from mlops_box.clock import isoformat, parse_time
from mlops_box.db import Row, Transaction
from mlops_box.errors import UsageError
from mlops_box.ledger import Entry
from mlops_box.monitoring.alerts import SEVERITY_RANK
from mlops_box.operations.notices import Notice, notice_of
from mlops_box.project import RegisteredProject
from mlops_box.project.notify import Notify

GIVE_UP_AFTER = timedelta(days=7)
MAX_LINES = 50

# Sends (url, title, body); returns why it failed, or None.
Sender = Callable[[str, str, str], "str | None"]


@dataclass(frozen=True)
class TargetOutcome:
    """What happened to one target of a project; it is named by its place in ``[notify] targets``, from 1."""

    project: str
    target: int
    sent: int
    queued: int
    dropped: int
    error: str | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "project": self.project, "target": self.target, "sent": self.sent, "queued": self.queued,
            "dropped": self.dropped, "error": self.error,
        }  # fmt: skip


def notify(
    box: Box, *, send: Sender | None = None, environ: Mapping[str, str] | None = None
) -> list[TargetOutcome]:
    """Fill the outbox of every project that declares targets, then send what is due.

    Args:
        send: How to send; through Apprise when ``None``.
        environ: Where ``env:NAME`` targets are looked up; the process's environment when ``None``.
    """
    outcomes = []
    for project in box.projects.list():
        declared = project.declaration.notify
        if not declared.targets:
            continue
        remind(box, project, declared)
        enqueue(box, project, declared)
        for index, target in enumerate(declared.targets, start=1):
            outcomes.append(
                _deliver(box, project, declared, index, _url(target, environ), send or send_by_apprise)
            )
    return outcomes


def send_test(project: RegisteredProject, *, send: Sender | None = None) -> list[TargetOutcome]:
    """A message to every target now, past digest and limit.

    Raises:
        UsageError: The project declares no target.
    """
    targets = project.declaration.notify.targets
    if not targets:
        raise UsageError(
            f"{project.name} declares no target", hint='add [notify] targets = ["..."] to mlops.toml'
        )
    outcomes = []
    for index, target in enumerate(targets, start=1):
        url = _url(target, None)
        title = f"mlops-box: test from {project.name}"
        error = (send or send_by_apprise)(url, title, "It works.") if url else _unset(target)
        outcomes.append(TargetOutcome(project.name, index, int(error is None), 0, 0, error))
    return outcomes


def enqueue(box: Box, project: RegisteredProject, declared: Notify) -> int:
    """Turn the ledger's new entries into queued notices; returns how many. A crash repeats or has done all of it."""
    since = _cursor(box, project)
    entries = list(box.ledger.walk(since=since + 1))
    if not entries:
        return 0
    notices = [(entry, notice) for entry in entries if (notice := _wanted(box, project, declared, entry))]
    now = isoformat(box.clock.now())
    with box.db.write() as tx:
        for entry, notice in notices:
            for index in range(1, len(declared.targets) + 1):
                row: Row = {
                    "seq": entry.seq, "project": project.name, "target": index, "state": "queued",
                    "severity": notice.severity, "text": notice.text, "attempts": 0, "error": None,
                    "queued_at": now, "settled_at": None,
                }  # fmt: skip
                tx.insert("notifications", row, ignore=True)
        tx.insert("notify_cursors", {"project": project.name, "seq": entries[-1].seq}, replace=True)
    return len(notices)


def remind(box: Box, project: RegisteredProject, declared: Notify) -> None:
    """Bring up again the alerts that nobody acknowledged, by an entry of the ledger."""
    if declared.remind is None:
        return
    now = box.clock.now()
    with box.db.write() as tx:
        for row in tx.read(
            "SELECT id, title FROM alerts WHERE project = ? AND state = 'open'", (project.name,)
        ):
            subject = f"alert:{row['id']}"
            told = tx.one(
                "SELECT at FROM ledger WHERE subject = ? AND act IN ('alert.opened','alert.reminded','alert.woken') "
                "ORDER BY seq DESC LIMIT 1",
                (subject,),
            )
            if told and now - parse_time(told["at"]) >= declared.remind:
                box.ledger.append(tx, "alert.reminded", subject, {"title": row["title"]})


def send_by_apprise(url: str, title: str, body: str) -> str | None:
    """Send through Apprise; returns why it failed, without the URL, which may hold a secret."""
    import apprise

    service = apprise.Apprise()
    if not service.add(url):
        return "Apprise does not know this kind of URL"
    try:
        sent = service.notify(title=title, body=body)
    except Exception as error:  # noqa: BLE001  a plugin's failure must not end a monitor run
        return type(error).__name__
    return None if sent else "the target did not take it"


def _cursor(box: Box, project: RegisteredProject) -> int:
    """The last entry that was looked at; for a new project the one that registered this declaration."""
    row = box.db.one("SELECT seq FROM notify_cursors WHERE project = ?", (project.name,))
    if row is not None:
        return int(row["seq"])
    registered = box.db.one(
        "SELECT MAX(seq) AS seq FROM ledger WHERE act = 'project.register' AND subject = ?",
        (f"project:{project.name}",),
    )
    return int(registered["seq"] or 0) if registered else 0


def _wanted(box: Box, project: RegisteredProject, declared: Notify, entry: Entry) -> Notice | None:
    notice = notice_of(box, entry)
    if (
        notice is None
        or notice.project != project.name
        or SEVERITY_RANK[notice.severity] < SEVERITY_RANK[declared.least]
    ):
        return None
    return notice


def _deliver(
    box: Box, project: RegisteredProject, declared: Notify, index: int, url: str | None, send: Sender
) -> TargetOutcome:
    dropped = _drop_old(box, project.name, index)
    rows = _queued(box, project.name, index)
    if not rows:
        return TargetOutcome(project.name, index, 0, 0, dropped, None)
    if not _is_due(box, project.name, index, declared):
        return TargetOutcome(project.name, index, 0, len(rows), dropped, None)
    error = (
        send(url, *_message(project.name, rows)) if url is not None else _unset(declared.targets[index - 1])
    )
    now = isoformat(box.clock.now())
    with box.db.write() as tx:
        for row in rows:
            changes = {"attempts": row["attempts"] + 1, "error": error}
            if error is None:
                changes |= {"state": "sent", "settled_at": now}
            tx.insert("notifications", {**row, **changes}, replace=True)
        if error is None:
            _note(box, tx, project.name, index, len(rows))
    sent = len(rows) if error is None else 0
    return TargetOutcome(project.name, index, sent, len(rows) - sent, dropped, error)


def _queued(box: Box, project: str, target: int) -> list[Row]:
    return box.db.read(
        "SELECT * FROM notifications WHERE project = ? AND target = ? AND state = 'queued' ORDER BY seq",
        (project, target),
    )


def _is_due(box: Box, project: str, target: int, declared: Notify) -> bool:
    """Whether digest and limit allow a message now. Rows that were sent together share their time."""
    now = box.clock.now()
    rows = box.db.read(
        "SELECT DISTINCT settled_at FROM notifications WHERE project = ? AND target = ? AND state = 'sent' "
        "AND settled_at > ? ORDER BY settled_at DESC",
        (project, target, isoformat(now - max(declared.rate.per, declared.digest))),
    )
    times = [parse_time(row["settled_at"]) for row in rows]
    if times and now - times[0] < declared.digest:
        return False
    return sum(now - time < declared.rate.per for time in times) < declared.rate.count


def _drop_old(box: Box, project: str, target: int) -> int:
    """Nobody wants last week's news: what could not be sent for that long is dropped, and counted."""
    now = box.clock.now()
    with box.db.write() as tx:
        old = tx.read(
            "SELECT seq FROM notifications WHERE project = ? AND target = ? AND state = 'queued' AND queued_at < ?",
            (project, target, isoformat(now - GIVE_UP_AFTER)),
        )
        for row in old:
            tx.execute(
                "UPDATE notifications SET state = 'dropped', settled_at = ? "
                "WHERE seq = ? AND project = ? AND target = ?",
                (isoformat(now), row["seq"], project, target),
            )
        if old:
            box.ledger.append(
                tx, "notify.dropped", f"project:{project}", {"target": target, "notices": len(old)}
            )
    return len(old)


def _note(box: Box, tx: Transaction, project: str, target: int, notices: int) -> None:
    box.ledger.append(tx, "notify.sent", f"project:{project}", {"target": target, "notices": notices})


def _message(project: str, rows: Sequence[Row]) -> tuple[str, str]:
    """(title, body) of a digest, the worst first."""
    ordered = sorted(rows, key=lambda row: (-SEVERITY_RANK[row["severity"]], row["seq"]))
    lines = [f"{row['severity']}: {row['text']}" for row in ordered[:MAX_LINES]]
    if len(ordered) > MAX_LINES:
        lines.append(f"and {len(ordered) - MAX_LINES} more: mlops-box alerts list")
    title = f"mlops-box {project}: {len(rows)} notices" if len(rows) > 1 else f"mlops-box {project}"
    return title, "\n".join(lines)


def _url(target: str, environ: Mapping[str, str] | None) -> str | None:
    name = target.removeprefix("env:")
    return target if name == target else (os.environ if environ is None else environ).get(name)


def _unset(target: str) -> str:
    return f"the environment variable {target.removeprefix('env:')} is not set"
