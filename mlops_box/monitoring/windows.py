"""Windows of event time: where they begin, which are due, and what was found in them."""

from __future__ import annotations

import builtins
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from mlops_box.canonical import canonical_json
from mlops_box.clock import Clock, isoformat, parse_time
from mlops_box.db import Database, Row
from mlops_box.errors import NotFoundError
from mlops_box.monitoring.device_windows import DeviceCounts, DeviceCountStore
from mlops_box.monitoring.values import DataFinding, EstimateFinding, Finding, QualityFinding, Window
from mlops_box.objects import ObjectStore

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def window_start(moment: datetime, width: timedelta) -> datetime:
    """The beginning of the window that holds a moment: windows are aligned to multiples of ``width`` since 1970.

    >>> isoformat(window_start(datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC), timedelta(hours=1)))
    '2026-03-04T05:00:00.000Z'
    """
    return EPOCH + ((moment.astimezone(UTC) - EPOCH) // width) * width


class WindowStore:
    """Findings by model version and window; computing a window again replaces its row."""

    def __init__(self, db: Database, objects: ObjectStore, clock: Clock):
        self._db = db
        self._objects = objects
        self._clock = clock
        self.devices = DeviceCountStore(db, objects, clock)

    def put(
        self,
        windows: list[Window],
        *,
        accounted: list[tuple[str, str, str]],
        devices: Sequence[DeviceCounts] = (),
    ) -> None:
        """Store windows and note what they account for, in one transaction.

        A window that turned out to be empty goes: rows have come that are of another, by a corrected clock.

        Args:
            accounted: (segment id, model, kind) of the sealed parts whose rows are in these windows.
            devices: What devices counted that is in them.
        """
        now = isoformat(self._clock.now())
        with self._db.write() as tx:
            for window in windows:
                row = _to_row(window)
                if window.rows:
                    tx.insert("windows", row, replace=True)
                else:
                    tx.execute(
                        "DELETE FROM windows WHERE model = :model AND number = :number AND starts_at = :starts_at",
                        row,
                    )
            for segment_id, model, kind in accounted:
                tx.execute(
                    "UPDATE sealed SET monitored_at = ? WHERE segment_id = ? AND model = ? AND kind = ?",
                    (now, segment_id, model, kind),
                )
            self.devices.account(tx, devices)

    def due_parts(self, model: str) -> list[Row]:
        """Sealed parts (``segment_id``, ``kind``, ``digest``, ``time_min``, ``time_max``, ``from_device``) in no window yet."""
        return self._db.read(
            "SELECT segment_id, model, kind, digest, time_min, time_max, "
            "EXISTS (SELECT 1 FROM device_batches WHERE segment_id = sealed.segment_id) AS from_device FROM sealed "
            "WHERE model = ? AND monitored_at IS NULL ORDER BY time_min, segment_id",
            (model,),
        )

    def segment_ranges(self, model: str, segment_ids: list[str]) -> list[tuple[datetime, datetime]]:
        """The event-time ranges of the predictions in sealed segments.

        Args:
            segment_ids: Of segments, or what a device's prediction ids begin with.
        """
        rows = self._db.read(
            "WITH named AS (SELECT value FROM json_each(:ids)) "
            "SELECT time_min, time_max FROM sealed WHERE model = :model AND kind = 'prediction' AND segment_id IN "
            "(SELECT value FROM named UNION SELECT segment_id FROM device_ids WHERE prefix IN (SELECT value FROM named))",
            {"model": model, "ids": json.dumps(segment_ids)},
        )
        return [(parse_time(row["time_min"]), parse_time(row["time_max"])) for row in rows]

    def get(self, model: str, number: int, starts_at: datetime) -> Window:
        """Raises :class:`NotFoundError` where no such window was computed."""
        row = self._db.one(
            "SELECT * FROM windows WHERE model = ? AND number = ? AND starts_at = ?",
            (model, number, isoformat(starts_at)),
        )
        if row is None:
            raise NotFoundError(
                f"{model}@{number} has no window at {isoformat(starts_at)}", hint="mlops-box monitor"
            )
        return _from_row(row)

    def list(self, model: str | None = None, *, number: int | None = None, limit: int = 100) -> list[Window]:
        """The newest windows by event time, newest first."""
        rows = self._db.read(
            "SELECT * FROM windows WHERE (:model IS NULL OR model = :model) "
            "AND (:number IS NULL OR number = :number) "
            "ORDER BY starts_at DESC, model, number DESC LIMIT :limit",
            {"model": model, "number": number, "limit": limit},
        )
        return [_from_row(row) for row in rows]

    def traffic(
        self, model: str, width: timedelta, *, limit: int = 1000
    ) -> builtins.list[tuple[datetime, int]]:
        """(begin, rows of all versions) of the newest windows of this length that have rows, oldest first."""
        rows = self._db.read(
            "SELECT starts_at, ends_at, SUM(rows) AS rows FROM windows WHERE model = ? GROUP BY starts_at, ends_at "
            "ORDER BY starts_at DESC LIMIT ?",
            (model, limit),
        )
        spans = [(parse_time(row["starts_at"]), parse_time(row["ends_at"]), int(row["rows"])) for row in rows]
        return [(start, count) for start, end, count in reversed(spans) if end - start == width]

    def arrival_delay(self, model: str) -> timedelta:
        """How long it takes until predictions can be counted: from the first event of a sealed part to its end, in nine of ten
        of the newest parts at most."""
        rows = self._db.read(
            "SELECT time_min, closed_at FROM sealed JOIN segments ON segments.id = segment_id "
            "WHERE model = ? AND kind = 'prediction' AND closed_at IS NOT NULL ORDER BY closed_at DESC LIMIT 30",
            (model,),
        )
        delays = sorted(parse_time(row["closed_at"]) - parse_time(row["time_min"]) for row in rows)
        return max(delays[9 * (len(delays) - 1) // 10], timedelta()) if delays else timedelta()

    def counts(self, window: Window) -> dict[str, Any]:
        """The stored counts of a window, for merging (see ``WindowCounts.from_dict``)."""
        found: dict[str, Any] = json.loads(self._objects.read(window.summary["counts_digest"]))
        return found


def _to_row(window: Window) -> Row:
    finding = {
        "drift": window.drift.to_dict(),
        "quality": window.quality.to_dict() if window.quality else None,
        "data": window.data.to_dict(),
        "estimate": window.estimate.to_dict() if window.estimate else None,
    }
    return {
        "model": window.model, "number": window.number,
        "starts_at": isoformat(window.starts_at), "ends_at": isoformat(window.ends_at),
        "rows": window.rows, "rows_with_truth": window.rows_with_truth,
        "profile_digest": window.profile_digest, "summary": canonical_json(window.summary),
        "finding": canonical_json(finding), "computed_at": isoformat(window.computed_at),
    }  # fmt: skip


def _from_row(row: Row) -> Window:
    finding = json.loads(row["finding"])
    return Window(
        model=row["model"], number=row["number"],
        starts_at=parse_time(row["starts_at"]), ends_at=parse_time(row["ends_at"]),
        rows=row["rows"], rows_with_truth=row["rows_with_truth"],
        drift=Finding.from_dict(finding["drift"]),
        quality=QualityFinding.from_dict(finding["quality"]) if finding["quality"] else None,
        data=DataFinding.from_dict(finding["data"]),
        summary=json.loads(row["summary"]), profile_digest=row["profile_digest"],
        computed_at=parse_time(row["computed_at"]),
        estimate=EstimateFinding.from_dict(finding["estimate"]) if finding.get("estimate") else None,
    )  # fmt: skip
