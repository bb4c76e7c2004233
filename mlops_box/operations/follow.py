"""Alerts as they change, for somebody who watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mlops_box.box import Box
from mlops_box.ledger import Entry
from mlops_box.monitoring.alerts import Alert

POLL_EVERY_S = 1.0


@dataclass(frozen=True)
class AlertEvent:
    """One change: the ledger's entry and the alert as it stands."""

    entry: Entry
    alert: Alert

    @property
    def change(self) -> str:
        return self.entry.act.removeprefix("alert.")

    def line(self) -> str:
        at = self.entry.at.strftime("%Y-%m-%d %H:%M:%S")
        note = f" ({self.entry.facts['note']})" if self.entry.facts.get("note") else ""
        return f"{at}  {self.change:<13} {self.alert.severity:<8} {self.alert.title}{note}  [{self.alert.id}]"

    def to_dict(self) -> dict[str, Any]:
        return {"change": self.change, "actor": self.entry.actor, "alert": self.alert.to_dict()}


def alert_changes(
    box: Box, *, since: int | None = None, wait: Callable[[float], object] = time.sleep
) -> Iterator[AlertEvent]:
    """Every change of an alert after an entry of the ledger, for ever.

    Args:
        since: The last entry that is known; the newest when ``None``.
        wait: Called between two looks with the seconds to wait.
    """
    seen = box.ledger.head()[0] if since is None else since
    version: int | None = None
    while True:
        present = box.db.data_version()
        if present != version:
            version = present
            for entry in box.ledger.walk(since=seen + 1):
                seen = entry.seq
                if entry.act.startswith("alert."):
                    yield AlertEvent(entry, box.alerts.get(entry.subject.removeprefix("alert:")))
        wait(POLL_EVERY_S)
