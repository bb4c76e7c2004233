"""The ledger: a hash-chained record of every act.

``hash = SHA-256(prev || canonical JSON of {seq, at, actor, act, subject, facts})``. Altering, deleting, inserting or
swapping an entry breaks the chain from there on. Cutting off the newest entries cannot be seen from inside: keep
:meth:`Ledger.head` elsewhere (a bundle, a backup) to see that too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops_box.canonical import canonical_json, sha256_hex
from mlops_box.clock import Clock, isoformat, parse_time
from mlops_box.db import Database, Row, Transaction
from mlops_box.errors import IntegrityError, NotFoundError

GENESIS = "0" * 64


@dataclass(frozen=True)
class Entry:
    """One act: who did what to which subject, with the facts that justified it."""

    seq: int
    at: datetime
    actor: str
    act: str
    subject: str
    facts: dict[str, Any]
    prev: str
    hash: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "seq": self.seq, "at": isoformat(self.at), "actor": self.actor, "act": self.act,
            "subject": self.subject, "facts": self.facts, "prev": self.prev, "hash": self.hash,
        }  # fmt: skip


class Ledger:
    """Append inside the transaction of the act itself, so that the act and its record are one."""

    def __init__(self, db: Database, clock: Clock, actor: str):
        self._db = db
        self._clock = clock
        self.actor = actor

    def append(self, tx: Transaction, act: str, subject: str, facts: dict[str, Any] | None = None) -> str:
        """Record one act; returns the new head of the chain."""
        last = tx.one("SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1")
        prev = last["hash"] if last else GENESIS
        row: Row = {
            "seq": (last["seq"] if last else 0) + 1,
            "at": isoformat(self._clock.now()),
            "actor": self.actor,
            "act": act,
            "subject": subject,
            "facts": canonical_json(facts or {}),
        }
        row |= {"prev": prev, "hash": _hash(prev, row)}
        tx.execute(
            "INSERT INTO ledger (seq, at, actor, act, subject, facts, prev, hash) "
            "VALUES (:seq, :at, :actor, :act, :subject, :facts, :prev, :hash)",
            row,
        )
        return str(row["hash"])

    def record(self, act: str, subject: str, facts: dict[str, Any] | None = None) -> str:
        """Record an act that changes no other table."""
        with self._db.write() as tx:
            return self.append(tx, act, subject, facts)

    def entries(self, *, subject: str | None = None, limit: int = 200) -> list[Entry]:
        """The newest entries, newest first."""
        where, parameters = ("WHERE subject = ?", [subject]) if subject else ("", [])
        rows = self._db.read(f"SELECT * FROM ledger {where} ORDER BY seq DESC LIMIT ?", [*parameters, limit])
        return [_entry(row) for row in rows]

    def walk(self, *, since: int = 1) -> Iterator[Entry]:
        """All entries from number ``since`` on, oldest first."""
        while rows := self._db.read("SELECT * FROM ledger WHERE seq >= ? ORDER BY seq LIMIT 1000", (since,)):
            yield from (_entry(row) for row in rows)
            since = rows[-1]["seq"] + 1

    def get(self, seq: int) -> Entry:
        """One entry by its number.

        Raises:
            NotFoundError: The ledger has no such entry.
        """
        row = self._db.one("SELECT * FROM ledger WHERE seq = ?", (seq,))
        if row is None:
            count, _ = self.head()
            raise NotFoundError(
                f"the ledger has no entry {seq}; it has {count}", hint="mlops-box ledger list"
            )
        return _entry(row)

    def head(self) -> tuple[int, str]:
        """(number of entries, hash of the newest)."""
        row = self._db.one("SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1")
        return (row["seq"], row["hash"]) if row else (0, GENESIS)

    def first_broken(self) -> tuple[int, str] | None:
        """(sequence number, reason) of the first entry that does not fit; ``None`` when the chain is whole."""
        prev, expected = GENESIS, 1
        for row in self._db.read("SELECT * FROM ledger ORDER BY seq"):
            if row["seq"] != expected:
                return expected, f"entry {expected} is missing"
            if row["prev"] != prev:
                return row["seq"], "it does not follow the entry before it"
            if row["hash"] != _hash(prev, row):
                return row["seq"], "it was altered"
            prev, expected = row["hash"], expected + 1
        counter = self._db.one("SELECT seq FROM sqlite_sequence WHERE name = 'ledger'")
        if counter and counter["seq"] >= expected:
            return expected, f"the newest entries, {expected} to {counter['seq']}, were cut off"
        return None


def _hash(prev: str, row: Row) -> str:
    body = {key: row[key] for key in ("seq", "at", "actor", "act", "subject", "facts")}
    return sha256_hex((prev + canonical_json(body)).encode())


def _entry(row: Row) -> Entry:
    try:
        at, facts = parse_time(row["at"]), json.loads(row["facts"])
    except ValueError as error:
        raise IntegrityError(
            f"entry {row['seq']} of the ledger cannot be read: it was altered",
            hint="run mlops-box verify, and restore from a backup",
        ) from error
    return Entry(
        seq=row["seq"], at=at, actor=row["actor"], act=row["act"],
        subject=row["subject"], facts=facts, prev=row["prev"], hash=row["hash"],
    )  # fmt: skip
