"""What devices counted of the windows whose rows they could not keep.

A device counts every prediction of a window, in the bins of its version's reference, and keeps the counts longer than the
rows. As long as fewer rows have come than were counted, the difference, bin by bin, stands for the missing ones; once all
have come, the counts are put away. So no row counts twice, in whatever order rows and counts arrive.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from mlops_box.canonical import canonical_json
from mlops_box.clock import isoformat, parse_time
from mlops_box.db import Database, Row, Transaction
from mlops_box.monitoring.counts import CategoricalCounts, ColumnCounts, NumericCounts, WindowCounts

_COUNTS_ROW = (
    "device = :device AND boot = :boot AND model = :model AND number = :number AND starts_at = :starts_at"
)


class DeviceWindow(NamedTuple):
    """A window of one device in one boot; ``starts_at`` by the device's clock."""

    device: str
    boot: str
    model: str
    number: int
    starts_at: datetime

    def key(self) -> Row:
        return {**self._asdict(), "starts_at": isoformat(self.starts_at)}


@dataclass(frozen=True)
class Missing:
    """Rows of a version that are known by a device's counts only.

    Attributes:
        falls_at: When their window began, by this box's clock.
        counts: In the bins of the version's whole reference.
    """

    number: int
    falls_at: datetime
    counts: WindowCounts


class Seen(NamedTuple):
    """Which state of a device's window the drift windows account for."""

    window: DeviceWindow
    revision: int
    falls_at: datetime


class DeviceWindowStore:
    """Counts and rows of devices by window; changed in the transaction of the batch that brought them."""

    def __init__(self, db: Database):
        self._db = db

    def add_counts(
        self, tx: Transaction, window: DeviceWindow, counts: WindowCounts, falls_at: datetime
    ) -> None:
        """A device's counts came; those of one window add up."""
        row = self._row(tx, window, falls_at)
        row["counted"] += counts.rows
        row["counts"] = _merged(row["counts"], counts)
        self._put(tx, row)

    def add_rows(
        self, tx: Transaction, window: DeviceWindow, rows: int, counts: WindowCounts, falls_at: datetime
    ) -> None:
        """Rows came.

        Args:
            rows: How many; more than ``counts`` holds, where not all were logged whole.
        """
        row = self._row(tx, window, falls_at)
        row["received"] += rows
        row["received_counts"] = _merged(row["received_counts"], counts)
        self._put(tx, row)

    def due(self, model: str) -> list[Seen]:
        """What changed since the drift windows last accounted for it, and may change them."""
        rows = self._db.read(
            "SELECT * FROM device_windows WHERE model = ? AND monitored_revision IS NOT revision AND counted > 0",
            (model,),
        )
        return [Seen(_window(row), row["revision"], parse_time(row["falls_at"])) for row in rows]

    def missing(self, model: str, start: datetime, end: datetime) -> list[Missing]:
        """What is known by counts only of windows that began in ``start <= falls_at < end``."""
        rows = self._db.read(
            "SELECT * FROM device_windows WHERE model = ? AND falls_at >= ? AND falls_at < ? "
            "AND counts IS NOT NULL AND counted > received ORDER BY device, boot, number, starts_at",
            (model, isoformat(start), isoformat(end)),
        )
        return [Missing(row["number"], parse_time(row["falls_at"]), _difference(row)) for row in rows]

    def account(self, tx: Transaction, seen: Sequence[Seen]) -> None:
        """The drift windows account for these; what came meanwhile stays due."""
        for item in seen:
            tx.execute(
                f"UPDATE device_windows SET monitored_revision = :revision WHERE {_COUNTS_ROW}",
                {**item.window.key(), "revision": item.revision},
            )

    def _row(self, tx: Transaction, window: DeviceWindow, falls_at: datetime) -> Row:
        known = tx.one(f"SELECT * FROM device_windows WHERE {_COUNTS_ROW}", window.key())
        fresh: Row = {
            **window.key(), "falls_at": isoformat(falls_at), "counted": 0, "received": 0, "counts": None,
            "received_counts": None, "revision": 0, "monitored_revision": None,
        }  # fmt: skip
        return known or fresh

    def _put(self, tx: Transaction, row: Row) -> None:
        row["revision"] += 1
        if row["received"] >= row["counted"] > 0:
            # Every row came: nothing will be taken from the counts any more.
            row["counts"] = row["received_counts"] = None
        tx.insert("device_windows", row, replace=True)


def _window(row: Row) -> DeviceWindow:
    return DeviceWindow(row["device"], row["boot"], row["model"], row["number"], parse_time(row["starts_at"]))


def _merged(stored: str | None, counts: WindowCounts) -> str:
    if stored is not None:
        counts = WindowCounts.from_dict(json.loads(stored)).merge(counts)
    return canonical_json(counts.to_dict())


def _difference(row: Row) -> WindowCounts:
    """The device's counts less those of the rows that came."""
    counts = WindowCounts.from_dict(json.loads(row["counts"]))
    if row["received_counts"] is None:
        return counts
    came = WindowCounts.from_dict(json.loads(row["received_counts"]))
    pairs = zip(counts.columns, came.columns, strict=True)
    columns = tuple(_less(mine, theirs) for mine, theirs in pairs)
    return WindowCounts(row["counted"] - row["received"], columns)


def _less(mine: ColumnCounts, theirs: ColumnCounts) -> ColumnCounts:
    counts = tuple(max(0, a - b) for a, b in zip(mine.counts, theirs.counts, strict=True))
    nulls = max(0, mine.nulls - theirs.nulls)
    if isinstance(mine, CategoricalCounts) and isinstance(theirs, CategoricalCounts):
        unlisted = max(0, mine.unlisted - theirs.unlisted)
        return CategoricalCounts(counts, unlisted, mine.examples if unlisted else (), nulls)
    return NumericCounts(counts, nulls)


def checked_counts(raw: Any, like: WindowCounts) -> WindowCounts:
    """Counts that came from outside.

    Args:
        like: Counts of any window of the same version: which columns and bins there are.

    Raises:
        ValueError: They are no counts of this version, or do not add up.
    """
    counts = WindowCounts.from_dict(raw)
    if len(counts.columns) != len(like.columns):
        raise ValueError(f"{len(counts.columns)} columns, {len(like.columns)} are watched")
    for mine, theirs in zip(counts.columns, like.columns, strict=True):
        if type(mine) is not type(theirs) or len(mine.counts) != len(theirs.counts):
            raise ValueError("a column was counted with another reference")
        numbers = [counts.rows, *mine.counts, mine.nulls]
        if isinstance(mine, CategoricalCounts):
            numbers.append(mine.unlisted)
            if not all(isinstance(text, str) for text in mine.examples):
                raise ValueError("an example is no text")
        if not all(type(number) is int and 0 <= number < 2**53 for number in numbers):
            raise ValueError("a count is no count")
        if mine.rows + mine.nulls != counts.rows:
            raise ValueError(f"a column has {mine.rows + mine.nulls} rows of {counts.rows}")
    return counts
