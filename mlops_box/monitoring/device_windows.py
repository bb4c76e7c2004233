"""What devices counted of the windows whose rows they could not keep.

A device counts every prediction of a window, in the bins of its version's reference, and keeps the counts longer than the
rows. As far as fewer rows have come than were counted, the difference, bin by bin, stands for the missing ones. It is taken
anew whenever rows or counts come, so that no row counts twice, in whatever order they arrive.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from mlops_box.canonical import canonical_json
from mlops_box.clock import Clock, isoformat, parse_time
from mlops_box.db import Database, Row, Transaction
from mlops_box.monitoring.counts import CategoricalCounts, ColumnCounts, NumericCounts, WindowCounts
from mlops_box.objects import ObjectStore

if TYPE_CHECKING:
    import pyarrow as pa

_TIMES = ("starts_at", "ends_at", "falls_at", "falls_until")
FiledBy = Literal["event", "clock"]


@dataclass(frozen=True)
class DeviceWindow:
    """One window of one version on one device, as the device filed its rows.

    Attributes:
        filed_by: ``event``: their event times; ``clock``: the device's clock, which may be wrong.
        boot: In which life of the device; empty by event time, which goes on from one to the next.
        starts_at, ends_at: By what it was filed by.
        falls_at, falls_until: The same by the box's clock.
    """

    device: str
    boot: str
    model: str
    number: int
    filed_by: FiledBy
    starts_at: datetime
    ends_at: datetime
    falls_at: datetime
    falls_until: datetime

    def of(self, rows: pa.Table) -> pa.Table:
        """Those of some sealed predictions that fall into it."""
        # Whoever merely asks the store for counts does without: 0.12 s and 40 MB.
        import pyarrow as pa
        import pyarrow.compute as pc

        mine = pc.and_(pc.equal(rows["device"], self.device), pc.equal(rows["number"], self.number))
        if self.filed_by == "clock":
            times = rows["device_time"]
            mine = pc.and_(mine, pc.equal(rows["device_boot"], self.boot))
        else:
            times = rows["event_time"]
            mine = pc.and_(mine, pc.is_null(rows["device_time"]))
        start, end = (pa.scalar(moment, times.type) for moment in (self.starts_at, self.ends_at))
        mine = pc.and_(mine, pc.and_(pc.greater_equal(times, start), pc.less(times, end)))
        return rows.filter(pc.fill_null(mine, False))


@dataclass(frozen=True)
class DeviceCounts:
    """A record of what a device counted of a window; several of one window add up.

    Attributes:
        boot, seq: Which record of the device it is.
        counts: In the bins of the version's whole reference.
    """

    window: DeviceWindow
    boot: str
    seq: int
    counts: WindowCounts


def by_window(items: Iterable[DeviceCounts]) -> list[tuple[DeviceWindow, WindowCounts]]:
    """What was counted of each window, all its records together."""
    found: dict[DeviceWindow, WindowCounts] = {}
    for item in items:
        known = found.get(item.window)
        found[item.window] = known.merge(item.counts) if known is not None else item.counts
    return list(found.items())


class DeviceCountStore:
    """Counts of devices, each record once."""

    def __init__(self, db: Database, objects: ObjectStore, clock: Clock):
        self._db = db
        self._objects = objects
        self._clock = clock

    def put_object(self, counts: WindowCounts) -> str:
        """Store counts, before the row that names them; returns their digest."""
        return self._objects.put_bytes(canonical_json(counts.to_dict()).encode(), kind="counts")

    def add(self, tx: Transaction, item: DeviceCounts, digest: str) -> None:
        """A record came that was not here, see :meth:`put_object`."""
        window = item.window
        row: Row = {
            "device": window.device, "boot": item.boot, "seq": item.seq, "model": window.model, "number": window.number,
            "filed_by": window.filed_by, "rows": item.counts.rows, "counts_digest": digest,
            **{name: isoformat(getattr(window, name)) for name in _TIMES},
        }  # fmt: skip
        tx.insert("device_counts", row)

    def due(self, model: str) -> list[DeviceCounts]:
        """Those that no drift window takes into account yet."""
        return self._read("model = ? AND monitored_at IS NULL", (model,))

    def between(self, model: str, start: datetime, end: datetime) -> list[DeviceCounts]:
        """Those of windows that have a moment of ``start <= moment < end``, by the box's clock."""
        times = (isoformat(start), isoformat(end))
        return self._read("model = ? AND falls_until > ? AND falls_at < ?", (model, *times))

    def latest(self, device: str, limit: int) -> list[DeviceCounts]:
        """The newest records of one device, by the time of their windows."""
        rows = self._db.read(
            "SELECT * FROM device_counts WHERE device = ? ORDER BY falls_at DESC, seq DESC LIMIT ?",
            (device, limit),
        )
        return [self._item(row) for row in rows]

    def account(self, tx: Transaction, items: Sequence[DeviceCounts]) -> None:
        """Drift windows take these into account."""
        now = isoformat(self._clock.now())
        for item in items:
            tx.execute(
                "UPDATE device_counts SET monitored_at = ? WHERE device = ? AND boot = ? AND seq = ?",
                (now, item.window.device, item.boot, item.seq),
            )

    def _read(self, where: str, parameters: Sequence[str]) -> list[DeviceCounts]:
        rows = self._db.read(
            f"SELECT * FROM device_counts WHERE {where} ORDER BY falls_at, device, boot, seq", parameters
        )
        return [self._item(row) for row in rows]

    def _item(self, row: Row) -> DeviceCounts:
        counts = WindowCounts.from_dict(json.loads(self._objects.read(row["counts_digest"])))
        filed_by: FiledBy = row["filed_by"]
        boot = row["boot"] if filed_by == "clock" else ""
        times = {name: parse_time(row[name]) for name in _TIMES}
        window = DeviceWindow(row["device"], boot, row["model"], row["number"], filed_by, **times)
        return DeviceCounts(window, row["boot"], row["seq"], counts)


def missing_counts(counted: WindowCounts, came: WindowCounts, rows: int) -> WindowCounts | None:
    """What stands for the rows that did not come; ``None`` where all did.

    Args:
        counted: By the device.
        came: Counted here, of the rows that came whole.
        rows: How many came; more than ``came`` holds where not all were logged whole.
    """
    if rows >= counted.rows:
        return None
    pairs = zip(counted.columns, came.columns, strict=True)
    return WindowCounts(counted.rows - rows, tuple(_less(mine, theirs) for mine, theirs in pairs))


def checked_counts(raw: Any, like: WindowCounts) -> WindowCounts:
    """Counts that came from outside.

    Args:
        like: Counts of any window of the same version: which columns and bins there are.

    Raises:
        ValueError: They are no counts of this version, or do not add up.
    """
    try:
        counts = WindowCounts.from_dict(raw)
        pairs = list(zip(counts.columns, like.columns, strict=True))
        for mine, theirs in pairs:
            _check_column(mine, theirs, counts.rows)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"these are no counts: {error!r}") from error
    return counts


def _check_column(mine: ColumnCounts, theirs: ColumnCounts, rows: int) -> None:
    if type(mine) is not type(theirs) or len(mine.counts) != len(theirs.counts):
        raise ValueError("a column was counted with another reference")
    numbers = [rows, *mine.counts, mine.nulls]
    if isinstance(mine, CategoricalCounts):
        numbers.append(mine.unlisted)
        if not all(isinstance(text, str) for text in mine.examples):
            raise ValueError("an example is no text")
    if not all(type(number) is int and 0 <= number < 2**53 for number in numbers):
        raise ValueError("a count is no count")
    if mine.rows + mine.nulls != rows:
        raise ValueError(f"a column has {mine.rows + mine.nulls} rows of {rows}")


def _less(mine: ColumnCounts, theirs: ColumnCounts) -> ColumnCounts:
    counts = tuple(max(0, a - b) for a, b in zip(mine.counts, theirs.counts, strict=True))
    nulls = max(0, mine.nulls - theirs.nulls)
    if isinstance(mine, CategoricalCounts) and isinstance(theirs, CategoricalCounts):
        unlisted = max(0, mine.unlisted - theirs.unlisted)
        return CategoricalCounts(counts, unlisted, mine.examples if unlisted else (), nulls)
    return NumericCounts(counts, nulls)
