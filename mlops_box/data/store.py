"""Snapshots: what the gate let through, found again and read. Minting is the gate's alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_box.clock import Clock, isoformat, parse_time
from mlops_box.data.values import BatchCheck, Column, Door, RuleHit, Snapshot, Verdict
from mlops_box.db import Database, Row
from mlops_box.errors import NotFoundError
from mlops_box.ledger import Ledger
from mlops_box.objects import ObjectStore

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Refusal:
    """A batch that a door refused: evidence, without its data."""

    id: str
    project: str
    door: Door
    at: datetime
    verdict: Verdict
    lineage: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id, "project": self.project, "door": self.door, "at": isoformat(self.at),
            "verdict": asdict(self.verdict), "lineage": self.lineage,
        }  # fmt: skip


class SnapshotStore:
    """Reads snapshots, their quarantine and the refusals."""

    def __init__(self, db: Database, objects: ObjectStore, ledger: Ledger, clock: Clock):
        self._db = db
        self._objects = objects
        self._ledger = ledger
        self._clock = clock

    def get(self, id_or_prefix: str) -> Snapshot:
        """One snapshot by its id or an unambiguous beginning of it.

        Raises:
            NotFoundError: None, or more than one.
        """
        rows = self._db.read(
            "SELECT * FROM snapshots WHERE substr(id, 1, ?) = ? LIMIT 2", (len(id_or_prefix), id_or_prefix)
        )
        if len(rows) != 1 or not id_or_prefix:
            raise NotFoundError(
                f"no snapshot {id_or_prefix!r}"
                if not rows
                else f"several snapshots begin with {id_or_prefix!r}",
                hint="mlops-box data list",
            )
        return _snapshot(rows[0])

    def list(self, project: str | None = None, limit: int = 100) -> list[Snapshot]:
        """The newest snapshots, newest first; of all projects when ``project`` is ``None``."""
        rows = self._db.read(
            "SELECT * FROM snapshots WHERE (:project IS NULL OR project = :project) "
            "ORDER BY created_at DESC, rowid DESC LIMIT :limit",
            {"project": project, "limit": limit},
        )
        return [_snapshot(row) for row in rows]

    def latest(self, project: str) -> Snapshot | None:
        """The newest snapshot of a project, ``None`` when it has none."""
        return next(iter(self.list(project, limit=1)), None)

    def table(self, snapshot: Snapshot, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows, verified against the snapshot's id.

        Args:
            snapshot: Which.
            columns: Only these; all when ``None``.

        Raises:
            NotFoundError: A column is not there, or the object is missing.
            IntegrityError: The file is not what it was.
        """
        import pyarrow.parquet as pq

        known = [column.name for column in snapshot.schema]
        for column in columns or ():
            if column not in known:
                raise NotFoundError(
                    f"snapshot {snapshot.id[:12]} has no column {column!r}",
                    hint=f"it has: {', '.join(known)}",
                )
        path = self._objects.path(snapshot.id, verify=True)
        # Dots in a column's name would be read as a path into a struct: whole columns, chosen by place.
        with pq.ParquetFile(path) as file:
            table = file.read()
        return table if columns is None else table.select(list(columns))

    def path(self, snapshot: Snapshot) -> Path:
        """The snapshot's Parquet file; never write to it."""
        return self._objects.path(snapshot.id)

    def quarantine(self, snapshot: Snapshot) -> pa.Table | None:
        """Rows that broke rules, with ``_row`` (as delivered, from 1), ``_rules`` and ``_raw`` (values of another type);
        ``None`` when there were none."""
        return self._evidence(snapshot.quarantine_digest)

    def rejects(self, snapshot: Snapshot) -> pa.Table | None:
        """Lines that could not be parsed: ``file, line, column, reason``; ``None`` when there were none."""
        return self._evidence(snapshot.rejects_digest)

    def refusals(self, project: str | None = None, limit: int = 100) -> Sequence[Refusal]:
        """The newest refused batches, newest first."""
        rows = self._db.read(
            "SELECT * FROM refusals WHERE (:project IS NULL OR project = :project) ORDER BY at DESC, id DESC LIMIT :limit",
            {"project": project, "limit": limit},
        )
        return [
            Refusal(
                row["id"],
                row["project"],
                row["door"],
                parse_time(row["at"]),
                verdict_from(json.loads(row["verdict"])),
                json.loads(row["lineage"]),
            )
            for row in rows
        ]

    def _evidence(self, digest: str | None) -> pa.Table | None:
        import pyarrow.parquet as pq

        if digest is None:
            return None
        with pq.ParquetFile(self._objects.path(digest, verify=True)) as file:
            return file.read()


def verdict_from(raw: dict[str, Any]) -> Verdict:
    """The inverse of ``asdict(verdict)`` after a journey through JSON."""
    return Verdict(
        accepted=raw["accepted"], rows_in=raw["rows_in"], rows_good=raw["rows_good"],
        rows_quarantined=raw["rows_quarantined"], rows_rejected=raw["rows_rejected"],
        row_rules=tuple(RuleHit(hit["rule"], hit["rows"], tuple(hit["examples"])) for hit in raw["row_rules"]),
        batch_checks=tuple(BatchCheck(**check) for check in raw["batch_checks"]),
    )  # fmt: skip


def _snapshot(row: Row) -> Snapshot:
    def moment(text: str | None) -> datetime | None:
        return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None

    return Snapshot(
        id=row["id"], project=row["project"], rows=row["rows"],
        schema=tuple(Column(item["name"], item["type"]) for item in json.loads(row["schema"])),
        time_column=row["time_column"], time_min=moment(row["time_min"]), time_max=moment(row["time_max"]),
        verdict=verdict_from(json.loads(row["verdict"])), created_at=parse_time(row["created_at"]),
        lineage=json.loads(row["lineage"]), quarantine_digest=row["quarantine_digest"],
        rejects_digest=row["rejects_digest"],
    )  # fmt: skip
