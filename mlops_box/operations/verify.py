"""Is everything still what it was? The ledger's chain, the database, every stored object, every reference."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlops_box.box import Box
from mlops_box.canonical import sha256_hex
from mlops_box.errors import IntegrityError
from mlops_box.home import Home
from mlops_box.progress import Progress, SilentProgress

# Lies beside box.db in a backup: the head of its ledger, known from outside the chain.
BACKUP_FILE = "backup.json"

# Who refers to which object; each query gives (owner, digest).
REFERENCES = (
    "SELECT 'snapshot ' || id AS owner, id AS digest FROM snapshots",
    "SELECT 'quarantine of snapshot ' || id AS owner, quarantine_digest AS digest FROM snapshots "
    "WHERE quarantine_digest IS NOT NULL",
    "SELECT 'rejects of snapshot ' || id AS owner, rejects_digest AS digest FROM snapshots "
    "WHERE rejects_digest IS NOT NULL",
    "SELECT model || '@' || number || ' ' || file.key AS owner, file.value AS digest "
    "FROM versions, json_each(manifest, '$.files') AS file WHERE json_valid(manifest)",
    "SELECT kind || 's of ' || model || ' in segment ' || segment_id AS owner, digest FROM sealed",
    "SELECT 'profile of ' || model || '@' || number || ' from ' || starts_at AS owner, profile_digest AS digest "
    "FROM windows WHERE profile_digest IS NOT NULL",
    "SELECT 'counts of ' || model || '@' || number || ' by the device ' || device AS owner, counts_digest AS digest "
    "FROM device_counts",
    "SELECT 'what ' || device || ' sent and could not be used' AS owner, aside_digest AS digest "
    "FROM device_batches WHERE aside_digest IS NOT NULL",
)


@dataclass(frozen=True)
class Problem:
    """One thing that is not what it was."""

    where: str
    what: str


@dataclass(frozen=True)
class VerifyReport:
    """What was looked at and what was found; ``problems`` is empty when all is well.

    ``head`` is the hash of the ledger's newest entry: kept elsewhere, it shows later that nothing was cut off.
    """

    entries: int
    head: str
    objects: int
    size_bytes: int
    references: int
    problems: tuple[Problem, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def raise_if_broken(self) -> None:
        """Raises :class:`IntegrityError` naming the first problem; all of them are in its details."""
        if self.problems:
            first, more = self.problems[0], len(self.problems) - 1
            raise IntegrityError(
                f"{first.where}: {first.what}" + (f" (and {more} more)" if more else ""),
                hint="restore from a backup: mlops-box backup makes one",
                details=self.to_dict(),
            )


def verify(
    box: Box, *, head: tuple[int, str] | None = None, progress: Progress | None = None
) -> VerifyReport:
    """Check the ledger, the database, every object and every reference to one; nothing is changed.

    Args:
        box: May be opened read-only.
        head: An earlier (number, hash) of the ledger's head; it must still be there.
        progress: Told of every object that was read.
    """
    progress = progress or SilentProgress()
    problems: list[Problem] = []
    progress.begin("database")
    problems += _database(box)
    progress.end()
    progress.begin("ledger")
    problems += _ledger(box, [known for known in (head, _head_of_backup(box.home)) if known])
    entries, newest = box.ledger.head()
    progress.end()
    objects = box.db.read("SELECT digest, size_bytes, kind FROM objects ORDER BY digest")
    progress.begin("objects", total=len(objects))
    for row in objects:
        found = box.objects.problem(row["digest"])
        if found:
            problems.append(Problem(f"object {row['digest']}", f"{found} ({row['kind']})"))
        progress.advance()
    progress.end()
    references = [row for query in REFERENCES for row in box.db.read(query)]
    known = {row["digest"] for row in objects}
    problems += [
        Problem(row["owner"], f"its object {row['digest']} is not registered")
        for row in references
        if row["digest"] not in known
    ]
    problems += _manifests(box)
    size_bytes = sum(row["size_bytes"] for row in objects)
    return VerifyReport(entries, newest, len(objects), size_bytes, len(references), tuple(problems))


def _database(box: Box) -> list[Problem]:
    try:
        found = box.db.check()
        loose = box.db.read("PRAGMA foreign_key_check")
    except IntegrityError as error:
        return [Problem("box.db", error.message)]
    return [Problem("box.db", text) for text in found] + [
        Problem(
            "box.db", f"row {row['rowid']} of {row['table']} refers to a row of {row['parent']} that is gone"
        )
        for row in loose
    ]


def _ledger(box: Box, known: list[tuple[int, str]]) -> list[Problem]:
    broken = box.ledger.first_broken()
    if broken is not None:
        seq, reason = broken
        return [Problem(f"ledger entry {seq}", reason)]
    problems = []
    for seq, digest in known:
        row = box.db.one("SELECT hash FROM ledger WHERE seq = ?", (seq,))
        if seq and (row is None or row["hash"] != digest):
            reason = "it was cut off" if row is None else "it is not the entry that was noted"
            problems.append(Problem(f"ledger entry {seq}", reason))
    return problems


def _manifests(box: Box) -> list[Problem]:
    rows = box.db.read("SELECT model, number, manifest, digest FROM versions ORDER BY model, number")
    return [
        Problem(f"{row['model']}@{row['number']}", "its manifest was altered")
        for row in rows
        if sha256_hex(row["manifest"].encode()) != row["digest"]
    ]


def _head_of_backup(home: Home) -> tuple[int, str] | None:
    note: Path = home.root / BACKUP_FILE
    if not note.exists():
        return None
    try:
        noted = json.loads(note.read_text(encoding="utf-8"))
        return int(noted["entries"]), str(noted["head"])
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{note} cannot be read: {error}", hint="take another backup") from error
