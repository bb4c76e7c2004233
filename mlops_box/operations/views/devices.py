"""Devices as a person looks at them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from mlops_box.box import Box
from mlops_box.canonical import canonical_json
from mlops_box.clock import isoformat
from mlops_box.edge.devices import Device
from mlops_box.errors import UsageError
from mlops_box.operations.edge.device_alerts import troubles_of
from mlops_box.operations.views.filters import compile_filter
from mlops_box.operations.views.paging import Page, Query

_FIELDS = {
    name: f"json_extract(value, '$.{name}')" for name in ("name", "state", "serving", "way", "trouble")
}
_SORTS = ("name", "backlog", "dropped", "last_seen")

DeviceState = Literal["new", "fine", "trouble", "removed"]
SlotMark = Literal["good", "bad", "trial", "unknown"]


@dataclass(frozen=True)
class SlotView:
    """What lies in one of a device's slots, and as what, when it was seen last.

    Attributes:
        serving: The device answers with it.
        mark: Whether it has proven itself there; ``unknown`` where the device has not told.
    """

    name: str
    version: str | None
    role: str
    serving: bool
    mark: SlotMark


@dataclass(frozen=True)
class DeviceRow:
    """One line of the devices table.

    Attributes:
        serving: ``model@number``; ``None`` before it said so.
        backlog: Records it still held when it was seen last.
        clock_offset_s: How far its clock is behind the box's; ``None``: never compared.
        slots: By name; empty before it told of them.
    """

    name: str
    state: DeviceState
    serving: str | None
    last_seen: datetime | None
    way: str | None
    backlog: int
    dropped: int
    clock_offset_s: float | None
    trouble: str | None
    slots: tuple[SlotView, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "last_seen": isoformat(self.last_seen) if self.last_seen else None}


@dataclass(frozen=True)
class ReceivedBatch:
    """A batch that brought something."""

    received_at: str
    way: str
    boot: str
    first: int
    last: int
    fresh: int
    aside_digest: str | None


@dataclass(frozen=True)
class CountedWindow:
    """A window that the device counted.

    Attributes:
        psi: The population stability index of each column that has one, the largest first; above 0.25 is a shift by the
            common rule of thumb.
    """

    version: str
    starts_at: str
    rows: int
    psi: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class DeviceDetail:
    """All there is to know of a device.

    Attributes:
        bad: Versions marked bad there: ``model@number``, or the digest of one that this box does not know.
        history: What it did last, as it tells it.
        rows: Predictions that came as rows.
        drift: How far what it counted itself lies from the training data, its newest windows first.
        batches: The newest batches, newest first.
    """

    row: DeviceRow
    key_id: str
    added_at: datetime
    added_by: str
    bad: tuple[str, ...]
    epoch: int | None
    history: tuple[dict[str, Any], ...]
    rows: int
    drift: tuple[CountedWindow, ...]
    batches: tuple[ReceivedBatch, ...]

    def to_dict(self) -> dict[str, Any]:
        row = self.row.to_dict()
        return {**asdict(self), "row": row, "slots": row["slots"], "added_at": isoformat(self.added_at)}


def list_devices(box: Box) -> list[DeviceRow]:
    """All devices by name, the removed ones too."""
    return [_row(box, device) for device in box.devices.list()]


def page_of_devices(box: Box, query: Query) -> Page[DeviceRow]:
    """A page of devices, by name. How a device is, is no column: the rows are made first, then filtered.

    Raises:
        UsageError: The filter names a field, or the query a sort, that does not exist.
    """
    everyone = list_devices(box)
    condition = compile_filter(query.text, fields=_FIELDS, text=tuple(_FIELDS.values()))
    found = box.db.read(
        f"SELECT key FROM json_each(?) WHERE {condition.sql} ORDER BY key",
        (canonical_json([row.to_dict() for row in everyone]), *condition.parameters),
    )
    rows = [everyone[row["key"]] for row in found]
    if query.problems:
        rows = [row for row in rows if row.state == "trouble"]
    if query.sort is not None:
        rows = _sorted(rows, query.sort, descending=query.descending)
    shown = rows[query.offset : query.offset + query.limit]
    return Page(tuple(shown), len(rows), len(everyone), query.offset)


def _sorted(rows: list[DeviceRow], name: str, *, descending: bool) -> list[DeviceRow]:
    if name not in _SORTS:
        raise UsageError(f"cannot sort by {name!r}", hint=f"sorts: {', '.join(_SORTS)}")
    known = [row for row in rows if getattr(row, name) is not None]
    unknown = [row for row in rows if getattr(row, name) is None]
    return [*sorted(known, key=lambda row: getattr(row, name), reverse=descending), *unknown]


def device_detail(box: Box, name: str, *, batches: int = 10) -> DeviceDetail:
    """Raises :class:`NotFoundError` where there is no such device."""
    device = box.devices.get(name)
    health = device.report.health
    epoch, history = health.get("epoch"), health.get("history")
    return DeviceDetail(
        _row(box, device), device.key_id, device.added_at, device.added_by, _bad(box, health),
        epoch if isinstance(epoch, int) else None,
        tuple(act for act in history if isinstance(act, dict)) if isinstance(history, list) else (),
        _rows_received(box, name), _drift(box, device), _batches(box, name, batches),
    )  # fmt: skip


def _row(box: Box, device: Device) -> DeviceRow:
    troubles = troubles_of(box, device)
    state: DeviceState = "trouble" if troubles else "new" if device.last_seen is None else "fine"
    offset_us = device.clock_offset_us
    return DeviceRow(
        device.name, "removed" if device.is_revoked else state, device.serving, device.last_seen, device.way,
        device.report.backlog, device.report.dropped, offset_us / 1e6 if offset_us is not None else None,
        "; ".join(trouble.what for trouble in troubles) or None, _slots(box, device.report.health),
    )  # fmt: skip


def _slots(box: Box, health: dict[str, Any]) -> tuple[SlotView, ...]:
    slots, bad = health.get("slots"), _bad(box, health)
    if not isinstance(slots, dict):
        return ()
    found = []
    for name, slot in sorted(slots.items()):
        if isinstance(slot, dict):
            version = str(slot["version"]) if slot.get("version") else None
            role = str(slot.get("role") or "")
            serving = version is not None and version == health.get("serving") and role != "the one before"
            found.append(SlotView(str(name), version, role, serving, _mark(version, role, bad)))
    return tuple(found)


def _mark(version: str | None, role: str, bad: tuple[str, ...]) -> SlotMark:
    if version in bad:
        return "bad"
    if role.startswith("on trial"):
        return "trial"
    # The one before was confirmed in its time, and is what the device goes back to.
    return "good" if version and role in ("confirmed", "the one before") else "unknown"


def _bad(box: Box, health: dict[str, Any]) -> tuple[str, ...]:
    digests = health.get("bad")
    named = []
    for digest in map(str, digests if isinstance(digests, list) else ()):
        row = box.db.one("SELECT model, number FROM versions WHERE digest = ?", (digest,))
        named.append(f"{row['model']}@{row['number']}" if row else digest)
    return tuple(named)


def _rows_received(box: Box, name: str) -> int:
    row = box.db.one(
        "SELECT COALESCE(SUM(rows), 0) AS n FROM sealed WHERE kind = 'prediction' AND segment_id IN "
        "(SELECT segment_id FROM device_batches WHERE device = ?)",
        (name,),
    )
    return int(row["n"]) if row else 0


def _drift(box: Box, device: Device, limit: int = 5) -> tuple[CountedWindow, ...]:
    from mlops_box.edge.device.server.drift import column_psi
    from mlops_box.monitoring.device_windows import by_window
    from mlops_box.operations.monitor_reference import References

    references, found = References(box), []
    for window, counts in by_window(box.windows.devices.latest(device.name, limit)):
        version = box.models.get(f"{window.model}@{window.number}")
        pairs = zip(references.whole(version).columns, counts.columns, strict=True)
        psi = {reference.name: column_psi(reference, counted) for reference, counted in pairs}
        known = sorted(
            ((name, value) for name, value in psi.items() if value is not None), key=lambda item: -item[1]
        )
        found.append(CountedWindow(version.ref, isoformat(window.falls_at), counts.rows, tuple(known)))
    return tuple(found)


def _batches(box: Box, name: str, limit: int) -> tuple[ReceivedBatch, ...]:
    rows = box.db.read(
        "SELECT received_at, way, boot, first_seq, last_seq, fresh, aside_digest FROM device_batches "
        "WHERE device = ? ORDER BY received_at DESC, first_seq DESC LIMIT ?",
        (name, limit),
    )
    return tuple(ReceivedBatch(*row.values()) for row in rows)
