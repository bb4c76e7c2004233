"""The prediction log of all processes: segments are sealed into Parquet, registered, and read from there.

Readers ask box.db which files exist; nothing lists a folder.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops_box.clock import Clock, isoformat
from mlops_box.db import Database, Row, Transaction
from mlops_box.ids import new_id
from mlops_box.ledger import Ledger
from mlops_box.objects import ObjectStore
from mlops_box.runs import Owner
from mlops_box.serving.records import (
    PredictionRecord,
    Record,
    is_prediction_id,
    segment_of,
)
from mlops_box.serving.sealing import (
    PREDICTION_SCHEMA,
    TRUTH_SCHEMA,
    Key,
    SealedPart,
    Signatures,
    concat,
    part_bytes,
    tables_of,
)
from mlops_box.serving.segment_lines import SegmentReport, read_segment


@dataclass(frozen=True)
class SealedSegment:
    """One segment that became Parquet; ``note`` tells what could not be read."""

    segment_id: str
    parts: tuple[SealedPart, ...]
    note: str

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)


class PredictionStore:
    """Rotation, sealing and reading of the prediction log.

    Args:
        folder: Where open and closed segments lie (``home.predictions``).
    """

    def __init__(self, folder: Path, db: Database, objects: ObjectStore, ledger: Ledger, clock: Clock):
        self._folder = folder
        self._db = db
        self._objects = objects
        self._ledger = ledger
        self._clock = clock

    def request_rotation(self, timeout_s: float = 5.0) -> bool:
        """Ask the processes that write to close their segments; ``False`` when one did not in time.

        An empty segment stays open: there is nothing in it to seal.
        """
        with self._db.write() as tx:
            tx.execute("UPDATE segments SET rotate = 1 WHERE state = 'open'")
        deadline = time.monotonic() + timeout_s
        while self._awaited():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        return True

    def seal(self) -> list[SealedSegment]:
        """Turn closed segments, and those of dead owners, into Parquet; in one transaction, and only once.

        The raw file goes after the commit; one that a crash left behind goes at the next call.

        Raises:
            StorageError: The disk is full; nothing was sealed and nothing deleted.
        """
        signatures = Signatures(self._db)
        candidates = [self._read(row, signatures) for row in self._sealable()]
        sealed: list[SealedSegment] = []
        if candidates:
            with self._db.write() as tx:
                now = isoformat(self._clock.now())
                for segment in candidates:
                    changed = tx.execute(
                        "UPDATE segments SET state = 'sealed', rotate = 0, sealed_at = ?, note = ?, "
                        "closed_at = COALESCE(closed_at, ?) WHERE id = ? AND state <> 'sealed'",
                        (now, segment.note, now, segment.segment_id),
                    )
                    if changed == 0:
                        continue
                    _insert_parts(tx, segment)
                    sealed.append(segment)
                if sealed:
                    facts = {item.segment_id: {"rows": item.rows, "note": item.note} for item in sealed}
                    self._ledger.append(tx, "predictions.seal", "predictions", {"segments": facts})
        self._sweep()
        return sealed

    def prepare(self, records: Iterable[Record], *, note: str) -> SealedSegment:
        """Parquet of records that somebody else logged, a device; :meth:`add` registers it.

        Args:
            note: Whence they came.
        """
        tables = tables_of(records, Signatures(self._db))
        return SealedSegment(new_id(self._clock), self._parts(tables), note)

    def add(self, tx: Transaction, segment: SealedSegment) -> None:
        """Register a segment from :meth:`prepare`: from the commit on, its rows are in the log."""
        now = isoformat(self._clock.now())
        tx.insert(
            "segments",
            {
                "id": segment.segment_id, "path": "", "state": "sealed", "pid": 0, "pid_started": 0.0, "boot_id": "",
                "opened_at": now, "closed_at": now, "sealed_at": now, "note": segment.note,
            },
        )  # fmt: skip
        _insert_parts(tx, segment)

    def predictions(
        self,
        model: str,
        number: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pa.Table:
        """Sealed predictions with ``start <= event_time < end``, by event time, one column ``feature:NAME`` a feature.

        Args:
            number: Only this version; all when ``None``.
            start: Without a lower bound when ``None``.
            end: Without an upper bound when ``None``.
        """
        tables = [self._table(row["digest"]) for row in self._sealed(model, "prediction", start, end)]
        table = concat(tables, PREDICTION_SCHEMA)
        keep = pc.is_valid(table["id"])
        if number is not None:
            keep = pc.and_(keep, pc.equal(table["number"], number))
        if start is not None:
            keep = pc.and_(keep, pc.greater_equal(table["event_time"], _moment(start)))
        if end is not None:
            keep = pc.and_(keep, pc.less(table["event_time"], _moment(end)))
        return table.filter(keep).sort_by([("event_time", "ascending"), ("id", "ascending")])

    def truth(self, model: str, ids: Iterable[str] | None = None) -> pa.Table:
        """Sealed ground truth, the newest per prediction id: ``id``, ``truth`` (text), ``truth_number``, ``at``.

        Args:
            ids: Only for these predictions; for all when ``None``.
        """
        tables = [self._table(row["digest"]) for row in self._sealed(model, "truth", None, None)]
        table = concat(tables, TRUTH_SCHEMA)
        if ids is not None:
            table = table.filter(pc.is_in(table["id"], value_set=pa.array(list(ids), pa.string())))
        ordered = table.sort_by([("at", "ascending"), ("order", "ascending")])
        newest = {id_: index for index, id_ in enumerate(ordered["id"].to_pylist())}
        kept = ordered.take(pa.array(sorted(newest.values()), pa.int64()))
        return kept.select(["id", "truth", "truth_number", "at"])

    def find(self, prediction_id: str) -> dict[str, Any] | None:
        """One prediction as a row, sealed or still in an open segment; ``None`` when there is none.

        Its id names its segment, so this reads one file (of a device's, seldom more).
        """
        if not is_prediction_id(prediction_id):
            return None
        # A device's ids begin alike in many segments; each says which it holds.
        segments = self._db.read(
            "SELECT * FROM segments WHERE id = :prefix OR id IN (SELECT segment_id FROM device_ids "
            "WHERE prefix = :prefix AND :id BETWEEN first_id AND last_id)",
            {"prefix": segment_of(prediction_id), "id": prediction_id},
        )
        found = (self._find_in(segment, prediction_id) for segment in segments)
        return next((row for row in found if row is not None), None)

    def _find_in(self, segment: Row, prediction_id: str) -> dict[str, Any] | None:
        parts = self._db.read(
            "SELECT model, digest FROM sealed WHERE segment_id = ? AND kind = 'prediction'", (segment["id"],)
        )
        if segment["state"] == "sealed":
            tables = {row["model"]: self._table(row["digest"]) for row in parts}
        else:
            records = read_segment(self._folder / segment["path"], SegmentReport())
            holding = [
                record
                for record in records
                if isinstance(record, PredictionRecord) and prediction_id in record.ids
            ]
            found = tables_of(holding, Signatures(self._db))
            tables = {model: table for (model, _), table in found.items()}
        for model, table in tables.items():
            rows = table.filter(pc.equal(table["id"], prediction_id)).to_pylist()
            if rows:
                return {"model": model, **rows[0]}
        return None

    def models(self) -> list[str]:
        """Models with sealed predictions."""
        rows = self._db.read("SELECT DISTINCT model FROM sealed WHERE kind = 'prediction' ORDER BY model")
        return [row["model"] for row in rows]

    def _awaited(self) -> bool:
        rows = self._db.read("SELECT * FROM segments WHERE state = 'open' AND rotate = 1")
        return any(_owner(row).is_alive() for row in rows)

    def _sealable(self) -> list[Row]:
        rows = self._db.read(
            "SELECT * FROM segments WHERE state IN ('open', 'closed') ORDER BY opened_at, id"
        )
        return [row for row in rows if row["state"] == "closed" or not _owner(row).is_alive()]

    def _read(self, row: Row, signatures: Signatures) -> SealedSegment:
        report = SegmentReport()
        tables = tables_of(read_segment(self._folder / row["path"], report), signatures)
        return SealedSegment(row["id"], self._parts(tables), report.text())

    def _parts(self, tables: dict[Key, pa.Table]) -> tuple[SealedPart, ...]:
        parts = []
        for (model, kind), table in sorted(tables.items()):
            digest = self._objects.put_bytes(part_bytes(table), kind=f"{kind}s")
            parts.append(SealedPart.of(model, kind, digest, table))
        return tuple(parts)

    def _sweep(self) -> None:
        """Delete the raw files of sealed segments, by their registered names."""
        rows = self._db.read("SELECT id, path FROM segments WHERE state = 'sealed' AND path <> ''")
        for row in rows:
            with contextlib.suppress(FileNotFoundError):
                (self._folder / row["path"]).unlink()
        if rows:
            with self._db.write() as tx:
                for row in rows:
                    tx.execute("UPDATE segments SET path = '' WHERE id = ?", (row["id"],))

    def _sealed(self, model: str, kind: str, start: datetime | None, end: datetime | None) -> list[Row]:
        return self._db.read(
            "SELECT digest FROM sealed WHERE model = :model AND kind = :kind "
            "AND (:start IS NULL OR time_max >= :start) AND (:end IS NULL OR time_min <= :end) "
            "ORDER BY time_min, segment_id",
            {
                "model": model, "kind": kind,
                "start": isoformat(start) if start else None, "end": isoformat(end) if end else None,
            },
        )  # fmt: skip

    def _table(self, digest: str) -> pa.Table:
        return pq.read_table(pa.BufferReader(self._objects.read(digest)))


def _insert_parts(tx: Transaction, segment: SealedSegment) -> None:
    for part in segment.parts:
        tx.insert("sealed", {"segment_id": segment.segment_id, **part.to_row()})


def _owner(row: Row) -> Owner:
    return Owner(row["pid"], row["pid_started"], row["boot_id"])


def _moment(moment: datetime) -> pa.Scalar:
    return pa.scalar(moment, pa.timestamp("us", tz="UTC"))
