"""Alerts about devices: one a device, for as long as something is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mlops_box.box import Box
from mlops_box.clock import isoformat
from mlops_box.edge.devices import Device
from mlops_box.errors import UsageError
from mlops_box.ids import parse_ref
from mlops_box.monitoring.alerts import AlertChange, Severity
from mlops_box.units import format_duration


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a device."""

    what: str
    severity: Severity
    facts: dict[str, Any]


def watch_devices(box: Box) -> list[AlertChange]:
    """Open, update or resolve the alert of every device; it looks at box.db only."""
    return [change for device in box.devices.list() for change in _watch(box, device)]


def troubles_of(box: Box, device: Device) -> list[Trouble]:
    """What is wrong with a device, the gravest first; nothing with one that was removed."""
    if device.is_revoked:
        return []
    found = [_silent(box, device), _fallen_back(box, device), _dropped(device)]
    return [trouble for trouble in found if trouble is not None]


def _silent(box: Box, device: Device) -> Trouble | None:
    after = _silent_after(box, device)
    since = device.last_seen or device.added_at
    if box.clock.now() - since <= after:
        return None
    said = "was never seen" if device.last_seen is None else f"was not seen since {isoformat(since)}"
    allowed = format_duration(after.total_seconds())
    return Trouble(f"it {said} ([edge] silent_after = {allowed})", "error", {"last_seen": isoformat(since)})


def _fallen_back(box: Box, device: Device) -> Trouble | None:
    """A version was marked bad on the device, and no later one has proved itself there since."""
    bad = device.report.health.get("bad")
    if not isinstance(bad, list) or not bad or device.serving is None:
        return None
    try:
        serving = parse_ref(device.serving)
    except UsageError:
        return None
    rows = [
        row
        for digest in map(str, bad)
        for row in box.db.read("SELECT model, number FROM versions WHERE digest = ?", (digest,))
    ]
    later = sorted(
        row["number"]
        for row in rows
        if row["model"] == serving.name and row["number"] > (serving.number or 0)
    )
    if not later:
        return None
    named = ", ".join(f"{serving.name}@{number}" for number in later)
    what = f"{named} did not prove itself there and is marked bad; {device.serving} serves"
    return Trouble(what, "error", {"bad": named, "serving": device.serving})


def _dropped(device: Device) -> Trouble | None:
    if not device.dropped_lately:
        return None
    return Trouble(
        f"its full log dropped {device.dropped_lately:,} records since its last report",
        "warning",
        {"dropped_lately": device.dropped_lately, "dropped": device.report.dropped},
    )


def _silent_after(box: Box, device: Device) -> timedelta:
    model = (device.serving or "").partition("@")[0]
    project = box.projects.for_model(model) if model else None
    # The declaration's models are pydantic's: a box without devices does without.
    from mlops_box.project import Edge

    return (project.declaration.edge if project else Edge()).silent_after


def _watch(box: Box, device: Device) -> list[AlertChange]:
    subject = f"(device {device.name})"
    troubles = troubles_of(box, device)
    if not troubles:
        standing = box.alerts.unresolved(subject, "device")
        if standing is None:
            return []
        why = "it was removed" if device.is_revoked else "nothing is wrong with it any more"
        return [AlertChange("resolved", box.alerts.resolve(standing.id, reason=why))]
    model = (device.serving or "").partition("@")[0]
    project = box.projects.for_model(model) if model else None
    raised = box.alerts.raise_or_update(
        project=project.name if project else "box",
        model=subject,
        number=None,
        kind="device",
        severity="error" if any(item.severity == "error" for item in troubles) else "warning",
        title=f"device {device.name}: {'; '.join(item.what for item in troubles)}",
        finding={"device": device.name, "troubles": [{"what": item.what, **item.facts} for item in troubles]},
    )
    return [] if raised.change == "known" else [AlertChange(raised.change, raised.alert)]
