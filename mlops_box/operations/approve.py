"""Approve a version, where its project asks for that before it serves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mlops_box.box import Box
from mlops_box.models.approvals import Approval
from mlops_box.models.values import ModelVersion
from mlops_box.operations.rollout import kept_out, let_in

_DEFAULT_LIFETIME = timedelta(days=7)


@dataclass(frozen=True)
class ApproveOutcome:
    """An approval, and what it set going.

    Attributes:
        promoted: The version is the champion now.
        note: Why it is not.
    """

    approval: Approval
    promoted: bool
    note: str | None

    def to_dict(self) -> dict[str, Any]:
        return {"approval": self.approval.to_dict(), "promoted": self.promoted, "note": self.note}


def approve(box: Box, ref: str, *, reason: str, break_glass: bool = False) -> ApproveOutcome:
    """Say yes to a version; what waited for that goes on: it becomes champion as its training would have made it.

    Raises:
        GateError: The version was rejected by its gates.
        NotFoundError: There is no such version.
        UsageError: No reason, or the author approves without breaking the glass.
    """
    version = box.models.get(ref)
    registered = box.projects.for_model(version.model)
    lifetime = registered.declaration.gates.approval_expires if registered else _DEFAULT_LIFETIME
    approval = box.approvals.approve(version, reason=reason, lifetime=lifetime, break_glass=break_glass)
    note = _promote(box, version, approval)
    return ApproveOutcome(approval, note is None, note)


def _promote(box: Box, version: ModelVersion, approval: Approval) -> str | None:
    """Make it champion, over the one it was compared with only; returns why not."""
    now = box.models.champion_ref(version.model)
    if now == version.ref:
        return None
    if now != version.lineage.get("champion"):
        return f"it was compared with another champion; mlops-box models promote {version.ref} promotes it all the same"
    blocked = kept_out(box, version)
    if blocked is not None:
        return blocked
    rollout = let_in(box, version, reason=f"approved by {approval.approved_by}: {approval.reason}")
    if rollout is not None:
        return f"it takes over by a rollout: mlops-box rollout status {version.model}"
    return None
