"""The devices that may send what they remember: who they are, and how they last said they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from mlops_box.canonical import canonical_json
from mlops_box.clock import Clock, isoformat, parse_time
from mlops_box.db import Database, Row, Transaction
from mlops_box.edge.device_clock import DeviceClock
from mlops_box.edge.signing import key_id
from mlops_box.errors import NotFoundError, UsageError
from mlops_box.ids import check_name
from mlops_box.ledger import Ledger

Way = Literal["push", "pull", "file"]


@dataclass(frozen=True)
class Report:
    """What a device says of itself in a batch.

    Attributes:
        starts, mono_us: Order its reports, whatever its wall clock says.
        backlog: Records that it holds beyond this batch.
        dropped: Records that its full log let go, ever.
        health: Slots, versions marked bad, drift and the like, as it tells them.
    """

    starts: int
    mono_us: int
    backlog: int
    dropped: int
    health: dict[str, Any]


@dataclass(frozen=True)
class Device:
    """A device.

    Attributes:
        last_seen: By the box's clock; ``None``: never.
        clock_offset_us: The box's clock less the device's; ``None``: never compared.
        dropped_lately: Records its log let go between its last two reports.
    """

    name: str
    key_id: str
    public_key: str
    added_at: datetime
    added_by: str
    revoked_at: datetime | None
    last_seen: datetime | None
    way: Way | None
    clock_offset_us: int | None
    dropped_lately: int
    report: Report

    @property
    def is_revoked(self) -> bool:
        return self.revoked_at is not None

    @property
    def serving(self) -> str | None:
        """``model@number``, as it said last; ``None``: nothing, or it never said."""
        serving = self.report.health.get("serving")
        return serving if isinstance(serving, str) else None


class DeviceStore:
    """Adds, revokes and looks up devices; what they report is kept in the transaction of the batch that said it."""

    def __init__(self, db: Database, ledger: Ledger, clock: Clock):
        self._db = db
        self._ledger = ledger
        self._clock = clock

    def add(self, name: str, public: bytes) -> Device:
        """Accept a device by its public key (32 bytes); adding it again changes nothing.

        Raises:
            UsageError: The name is not allowed, or name or key belong to another device.
        """
        check_name(name, what="device name")
        key = key_id(public)
        with self._db.write() as tx:
            known = tx.one("SELECT * FROM devices WHERE name = ?", (name,))
            holder = tx.one("SELECT name FROM devices WHERE key_id = ? AND name <> ?", (key, name))
            if holder is not None:
                raise UsageError(f"the key {key} belongs to the device {holder['name']}")
            if known is not None and known["revoked_at"] is None:
                if known["key_id"] != key:
                    raise UsageError(
                        f"there is a device {name} with another key, {known['key_id']}",
                        hint=f"mlops-box edge devices remove {name}, if it was made anew",
                    )
                return _device(known)
            row = {
                "name": name, "key_id": key, "public_key": public.hex(), "revoked_at": None,
                "added_at": isoformat(self._clock.now()), "added_by": self._ledger.actor,
            }  # fmt: skip
            if known is None:
                tx.insert("devices", row)
            else:
                # A device that was made anew begins to count its starts anew.
                tx.execute(
                    "UPDATE devices SET key_id = :key_id, public_key = :public_key, revoked_at = NULL, "
                    "added_at = :added_at, added_by = :added_by, starts = 0, mono_us = 0 WHERE name = :name",
                    row,
                )
            self._ledger.append(tx, "device.added", f"device:{name}", {"key": key})
        return self.get(name)

    def revoke(self, name: str) -> Device:
        """Accept nothing more from a device; what came stays. Revoking it again changes nothing.

        Raises:
            NotFoundError: There is none of that name.
        """
        device = self.get(name)
        if device.is_revoked:
            return device
        with self._db.write() as tx:
            tx.execute(
                "UPDATE devices SET revoked_at = ? WHERE name = ?", (isoformat(self._clock.now()), name)
            )
            self._ledger.append(tx, "device.revoked", f"device:{name}", {"key": device.key_id})
        return self.get(name)

    def get(self, name: str) -> Device:
        """Raises :class:`NotFoundError` where there is none of that name."""
        row = self._db.one("SELECT * FROM devices WHERE name = ?", (name,))
        if row is None:
            raise NotFoundError(f"there is no device {name!r}", hint="mlops-box edge devices list")
        return _device(row)

    def by_key(self, key: str) -> Device | None:
        """The device, revoked or not, that holds a key."""
        row = self._db.one("SELECT * FROM devices WHERE key_id = ?", (key,))
        return _device(row) if row else None

    def list(self) -> list[Device]:
        """All devices by name, the revoked ones too."""
        return [_device(row) for row in self._db.read("SELECT * FROM devices ORDER BY name")]

    def clock_of(self, device: Device) -> DeviceClock:
        """What is known of its clocks."""
        rows = self._db.read(
            "SELECT machine_boot, zero_us FROM device_clocks WHERE device = ?", (device.name,)
        )
        return DeviceClock({row["machine_boot"]: row["zero_us"] for row in rows}, device.clock_offset_us)

    def seen(self, tx: Transaction, device: Device, way: Way, report: Report, clock: DeviceClock) -> None:
        """Keep that it was seen, and what it said, unless it said something newer before: an old file may come late."""
        tx.execute(
            "UPDATE devices SET last_seen = ?, way = ?, clock_offset_us = ? WHERE name = ?",
            (isoformat(self._clock.now()), way, clock.offset_us, device.name),
        )
        for boot, zero_us in clock.zeros_us.items():
            row = {"device": device.name, "machine_boot": boot, "zero_us": zero_us}
            tx.insert("device_clocks", row, replace=True)
        now = tx.one("SELECT starts, mono_us, dropped, health FROM devices WHERE name = ?", (device.name,))
        assert now is not None
        if (report.starts, report.mono_us) <= (now["starts"], now["mono_us"]):
            return
        lately = max(0, report.dropped - now["dropped"])
        tx.execute(
            "UPDATE devices SET starts = ?, mono_us = ?, backlog = ?, dropped = ?, dropped_lately = ?, health = ? "
            "WHERE name = ?",
            (
                report.starts, report.mono_us, report.backlog, report.dropped, lately,
                canonical_json(report.health), device.name,
            ),
        )  # fmt: skip
        before, after = (_versions(health) for health in (json.loads(now["health"]), report.health))
        if before != after:
            self._ledger.append(tx, "device.reported", f"device:{device.name}", after)


def _versions(health: dict[str, Any]) -> dict[str, Any]:
    """What of a report is worth an entry of its own."""
    return {key: health.get(key) for key in ("serving", "slots", "trial", "bad", "epoch")}


def _device(row: Row) -> Device:
    def moment(name: str) -> datetime | None:
        return parse_time(row[name]) if row[name] else None

    report = Report(row["starts"], row["mono_us"], row["backlog"], row["dropped"], json.loads(row["health"]))
    return Device(
        row["name"], row["key_id"], row["public_key"], parse_time(row["added_at"]), row["added_by"],
        moment("revoked_at"), moment("last_seen"), row["way"], row["clock_offset_us"], row["dropped_lately"], report,
    )  # fmt: skip
