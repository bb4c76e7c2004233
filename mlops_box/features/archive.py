"""What was materialised: pushed events and observations as Parquet objects, and how far each definition has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlops_box.clock import Clock, isoformat
from mlops_box.db import Database, Transaction
from mlops_box.errors import BusyError
from mlops_box.features.definition import Definition, Source
from mlops_box.features.events import NUMBER, EventLog, event_schema, source_key
from mlops_box.features.online import BEGINNING_US, OnlineStore
from mlops_box.ledger import Ledger
from mlops_box.objects import ObjectStore


@dataclass(frozen=True)
class Mark:
    """How far a definition is materialised.

    Attributes:
        until_us: Everything that had happened and was known until then (microseconds since 1970).
        event_number: Of the pushed events, those up to this number.
        behind: How many events of the source files lie before the mark.
    """

    until_us: int = BEGINNING_US
    event_number: int = 0
    behind: int = 0


@dataclass(frozen=True)
class FeatureFile:
    """One Parquet object; numbers count from 1."""

    number: int
    digest: str
    rows: int


class FeatureArchive:
    """The Parquet objects and marks in box.db, over the events of the online store."""

    def __init__(self, db: Database, objects: ObjectStore, ledger: Ledger, clock: Clock, store: OnlineStore):
        self._db = db
        self._objects = objects
        self._ledger = ledger
        self._clock = clock
        self._log = EventLog(store)

    def mark(self, definition: Definition) -> Mark | None:
        """How far a definition is; ``None``: never materialised."""
        return _mark(self._db, definition)

    def files(self, definition: Definition, *, after: int = 0) -> list[FeatureFile]:
        """The files of a definition's observations, with numbers greater than ``after``, in order."""
        return self._files("observations", definition.digest, after)

    def read(self, file: FeatureFile) -> pa.Table:
        """A file, verified.

        Raises:
            IntegrityError: It is not what was stored.
        """
        return pq.read_table(pa.BufferReader(self._objects.read(file.digest)))

    def add(
        self, definition: Definition, table: pa.Table, *, before: Mark | None, now: Mark, anew: bool = False
    ) -> None:
        """Store observations and move the mark, in this order.

        Args:
            before: The mark that they go on from.
            anew: They replace everything before them.

        Raises:
            BusyError: Somebody else has moved the mark meanwhile.
            StorageError: They could not be stored; the mark stands where it stood.
        """
        digest = self._store(table) if table.num_rows else None
        with self._db.write() as tx:
            if _mark(tx, definition) != before:
                raise BusyError(
                    f"{definition.ref} is being materialised by another process",
                    hint="wait for it, then try again",
                )
            number = _last_file(tx, definition) + 1
            if anew:
                tx.execute(
                    "DELETE FROM feature_files WHERE kind = 'observations' AND subject = ?",
                    (definition.digest,),
                )
            if digest is not None:
                self._add_file(tx, "observations", definition.digest, number, digest, table.num_rows)
            row = {
                "definition": definition.digest, "until_us": now.until_us, "event_number": now.event_number,
                "behind": now.behind, "updated_at": isoformat(self._clock.now()),
            }  # fmt: skip
            tx.insert("feature_marks", row, replace=True)
            facts = {"rows": table.num_rows, "file": digest, "until_us": now.until_us, "anew": anew}
            self._ledger.append(tx, "feature.materialize", f"feature:{definition.ref}", facts)

    def fold(self, definition: Definition, source: Source) -> int:
        """Store the pushed events of a source that are in no file yet; returns how many.

        Raises:
            StorageError: They could not be stored; they stay where they are.
        """
        key = source_key(definition, source.name)
        folded = self.folded(key)
        table = self._log.after(key, folded, source)
        if not table.num_rows:
            return 0
        digest = self._store(table)
        last = int(table[NUMBER][-1].as_py())
        with self._db.write() as tx:
            if _last_event(tx, key) != folded:
                return 0  # another process was quicker
            number = len(self._files("events", key, 0)) + 1
            self._add_file(tx, "events", key, number, digest, table.num_rows, last_event=last)
            facts = {"events": table.num_rows, "file": digest}
            self._ledger.append(tx, "feature.fold", f"feature-source:{key}", facts)
        return int(table.num_rows)

    def folded(self, key: str) -> int:
        """The greatest number of a source's pushed events that are in a file."""
        return _last_event(self._db, key)

    def waiting(self, key: str) -> int:
        """How many pushed events of a source are in no file yet."""
        return self._log.count_after(key, self.folded(key))

    def pushed(self, definition: Definition, source: Source) -> pa.Table:
        """All pushed events of a source, in files and not yet, with its columns and their numbers."""
        key = source_key(definition, source.name)
        folded = self.folded(key)
        schema = event_schema(source)
        tables = [_as(self.read(file), schema) for file in self._files("events", key, 0)]
        return pa.concat_tables([*tables, self._log.after(key, folded, source)])

    def _files(self, kind: str, subject: str, after: int) -> list[FeatureFile]:
        rows = self._db.read(
            "SELECT number, digest, rows FROM feature_files WHERE kind = ? AND subject = ? AND number > ? "
            "ORDER BY number",
            (kind, subject, after),
        )
        return [FeatureFile(row["number"], row["digest"], row["rows"]) for row in rows]

    def _add_file(
        self,
        tx: Transaction,
        kind: str,
        subject: str,
        number: int,
        digest: str,
        rows: int,
        *,
        last_event: int = 0,
    ) -> None:
        row = {
            "kind": kind, "subject": subject, "number": number, "digest": digest, "rows": rows,
            "last_event": last_event, "created_at": isoformat(self._clock.now()),
        }  # fmt: skip
        tx.insert("feature_files", row)

    def _store(self, table: pa.Table) -> str:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        return self._objects.put_bytes(bytes(sink.getvalue()), kind="features")


def _mark(db: Database | Transaction, definition: Definition) -> Mark | None:
    row = db.one("SELECT * FROM feature_marks WHERE definition = ?", (definition.digest,))
    return Mark(row["until_us"], row["event_number"], row["behind"]) if row else None


def _last_file(tx: Transaction, definition: Definition) -> int:
    row = tx.one(
        "SELECT coalesce(max(number), 0) AS last FROM feature_files WHERE kind = 'observations' AND subject = ?",
        (definition.digest,),
    )
    return int(row["last"]) if row else 0


def _last_event(db: Database | Transaction, key: str) -> int:
    row = db.one(
        "SELECT coalesce(max(last_event), 0) AS last FROM feature_files WHERE kind = 'events' AND subject = ?",
        (key,),
    )
    return int(row["last"]) if row else 0


def _as(table: pa.Table, schema: Any) -> pa.Table:
    """A stored table with the columns of today's source: what it lacks is missing."""
    arrays = [
        table[item.name].cast(item.type)
        if item.name in table.column_names
        else pa.nulls(table.num_rows, item.type)
        for item in schema
    ]
    return pa.table(arrays, schema=schema)
