"""Approvals: a person's yes to one version, bound to what that person saw.

An approval names the version's digest and the digest of its gates' report; it counts for nothing else, and not for
ever. Who trained a version by hand may not approve it; breaking the glass is possible, and recorded as such.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from mlops_box.canonical import digest_of
from mlops_box.clock import Clock, isoformat, parse_time
from mlops_box.db import Database, Row
from mlops_box.errors import GateError, UsageError
from mlops_box.ids import new_id
from mlops_box.ledger import Ledger
from mlops_box.models.values import ModelVersion

ApprovalKind = Literal["approved", "break_glass"]


@dataclass(frozen=True)
class Approval:
    """One yes."""

    id: str
    model: str
    number: int
    digest: str
    gates_digest: str
    kind: ApprovalKind
    reason: str
    approved_by: str
    approved_at: datetime
    expires_at: datetime

    @property
    def ref(self) -> str:
        return f"{self.model}@{self.number}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id, "version": self.ref, "digest": self.digest, "gates_digest": self.gates_digest,
            "kind": self.kind, "reason": self.reason, "approved_by": self.approved_by,
            "approved_at": isoformat(self.approved_at), "expires_at": isoformat(self.expires_at),
        }  # fmt: skip


class ApprovalStore:
    """Records approvals and says which one stands."""

    def __init__(self, db: Database, ledger: Ledger, clock: Clock):
        self._db = db
        self._ledger = ledger
        self._clock = clock

    def approve(
        self, version: ModelVersion, *, reason: str, lifetime: timedelta, break_glass: bool = False
    ) -> Approval:
        """Say yes to a version; saying it again while it stands changes nothing.

        Args:
            lifetime: How long it counts.
            break_glass: Approve one's own version: for emergencies, and the ledger says so.

        Raises:
            GateError: The version was rejected by its gates.
            UsageError: No reason was given, or the author approves without breaking the glass.
        """
        reason = " ".join(reason.split())
        if not reason:
            raise UsageError("an approval needs a reason: what was looked at", hint='--reason "..."')
        if version.state == "rejected":
            raise GateError(
                f"{version.ref} was rejected by its gates; no approval helps it",
                hint=f"mlops-box why {version.ref}",
            )
        actor = self._ledger.actor
        if author_of(version) == actor and not break_glass:
            raise UsageError(
                f"{version.ref} was trained by {actor}; somebody else approves it",
                hint="in an emergency: --break-glass, which the ledger records as such",
            )
        standing = self.standing(version)
        if standing is not None and standing.approved_by == actor:
            return standing
        now = self._clock.now()
        kind: ApprovalKind = "break_glass" if author_of(version) == actor else "approved"
        approval = Approval(
            new_id(self._clock), version.model, version.number, version.digest, gates_digest(version), kind,
            reason, actor, now, now + lifetime,
        )  # fmt: skip
        row: Row = {
            **asdict(approval), "approved_at": isoformat(now), "expires_at": isoformat(approval.expires_at),
        }  # fmt: skip
        with self._db.write() as tx:
            tx.insert("approvals", row)
            facts = {key: row[key] for key in ("digest", "gates_digest", "reason", "expires_at")}
            self._ledger.append(tx, f"approval.{kind}", f"version:{version.ref}", facts)
        return approval

    def standing(self, version: ModelVersion) -> Approval | None:
        """The newest approval that counts now: of this very digest and gates' report, and not expired."""
        now = self._clock.now()
        for approval in self.list(version):
            bound = approval.digest == version.digest and approval.gates_digest == gates_digest(version)
            if bound and now < approval.expires_at:
                return approval
        return None

    def list(self, version: ModelVersion) -> list[Approval]:
        """All approvals of a version, newest first."""
        rows = self._db.read(
            "SELECT * FROM approvals WHERE model = ? AND number = ? ORDER BY approved_at DESC, id DESC",
            (version.model, version.number),
        )
        return [_approval(row) for row in rows]


def author_of(version: ModelVersion) -> str | None:
    """Who trained it by hand; ``None`` where a schedule or the policy did, and any person may approve."""
    return version.created_by if version.lineage.get("trigger", "manual") == "manual" else None


def gates_digest(version: ModelVersion) -> str:
    """SHA-256 of the report of the version's gates."""
    return digest_of([asdict(gate) for gate in version.gates])


def _approval(row: Row) -> Approval:
    return Approval(
        **{
            **row,
            "approved_at": parse_time(row["approved_at"]),
            "expires_at": parse_time(row["expires_at"]),
        }
    )
