"""Delete a version that never did anything, with the files that only it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlops_box.box import Box
from mlops_box.errors import BusyError, UsageError
from mlops_box.models.values import ModelVersion
from mlops_box.operations.rollout import checked_reason
from mlops_box.operations.verify import REFERENCES

_OWN_TABLE = "versions"


@dataclass(frozen=True)
class Deletable:
    """What a deletion would free.

    Attributes:
        digests: Objects that nothing else refers to.
    """

    version: ModelVersion
    digests: tuple[str, ...]
    size_bytes: int

    def to_dict(self) -> dict[str, Any]:
        return {"version": self.version.ref, "digest": self.version.digest, "files": len(self.digests),
                "size_bytes": self.size_bytes}  # fmt: skip


def deletable(box: Box, ref: str) -> Deletable:
    """What would be deleted; nothing is.

    Raises:
        BusyError: A training is under way: its version may share files.
        NotFoundError: There is no such version.
        UsageError: Something refers to it, it once served, left the box or was approved, or it is its model's newest.
    """
    version = box.models.get(ref)
    running = box.runs.list(kind="train", state="running", limit=1)
    if running:
        raise BusyError(
            f"training {running[0].id} is under way; its version may share files", hint="wait for it"
        )
    reason = _kept_by(box, version)
    if reason is not None:
        raise UsageError(f"{version.ref} stays: {reason}", hint=f"mlops-box why {version.ref}")
    mine = set(version.files.values())
    others = {
        row["digest"] for query in REFERENCES for row in box.db.read(query)
        if not row["owner"].startswith(f"{version.ref} ")
    }  # fmt: skip
    free = sorted(mine - others)
    marks = ",".join("?" * len(free))
    total = box.db.read(
        f"SELECT COALESCE(SUM(size_bytes), 0) AS n FROM objects WHERE digest IN ({marks})", free
    )
    return Deletable(version, tuple(free), int(total[0]["n"]))


def delete_version(box: Box, ref: str, *, reason: str) -> Deletable:
    """Delete a version that nothing refers to. Its number is not given again, and its ledger entries stay.

    The row goes first, in one transaction with the ledger entry, then the files; a crash in between leaves files that
    nobody refers to, and that the next version with the same bytes takes over.

    Raises:
        BusyError: A training is under way.
        NotFoundError: There is no such version.
        UsageError: It has to stay (see :func:`deletable`), or no reason was given.
    """
    reason = checked_reason(reason)
    with box.db.write() as tx:
        # Looked at inside the transaction: nobody can begin to refer to it meanwhile.
        found = deletable(box, ref)
        version = found.version
        tx.execute("DELETE FROM versions WHERE model = ? AND number = ?", (version.model, version.number))
        box.objects.forget(tx, found.digests)
        facts = {"reason": reason, "digest": version.digest, "state": version.state, "metrics": version.metrics,
                 "files": version.files, "size_bytes": found.size_bytes}  # fmt: skip
        box.ledger.append(tx, "model.delete", f"version:{version.ref}", facts)
    box.objects.remove_files(found.digests)
    return found


def _kept_by(box: Box, version: ModelVersion) -> str | None:
    newest = box.db.read("SELECT MAX(number) AS n FROM versions WHERE model = ?", (version.model,))[0]["n"]
    if newest == version.number:
        return "it is the newest version of its model, and its number must not be given again"
    # Whatever was done to it beyond its registration is somebody's history: it served, it left the box, it was approved.
    acts = box.db.read(
        "SELECT DISTINCT act FROM ledger WHERE subject = ? AND act <> 'model.register' ORDER BY act",
        (f"version:{version.ref}",),
    )
    if acts:
        return "the ledger holds more of it than its registration: " + ", ".join(row["act"] for row in acts)
    used = [table for table in _tables_of_versions(box) if _refers(box, table, version)]
    return f"{', '.join(used)} refer to it" if used else None


def _tables_of_versions(box: Box) -> list[str]:
    """Every table that names versions by model and number, those of later schemas too."""
    rows = box.db.read(
        "SELECT m.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table' "
        "GROUP BY m.name HAVING SUM(c.name = 'model') AND SUM(c.name = 'number') ORDER BY m.name"
    )
    return [row["name"] for row in rows if row["name"] != _OWN_TABLE]


def _refers(box: Box, table: str, version: ModelVersion) -> bool:
    number = "? IN (number, base)" if table == "rollouts" else "number = ?"
    return (
        box.db.one(
            f"SELECT 1 FROM {table} WHERE model = ? AND {number} LIMIT 1", (version.model, version.number)
        )
        is not None
    )
