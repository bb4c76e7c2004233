"""Promote a version by hand, or roll back to the champion before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlops_box.box import Box
from mlops_box.models.values import ModelVersion
from mlops_box.operations import rollout
from mlops_box.operations.approval import require_approval
from mlops_box.operations.features.parity_gate import require_parity
from mlops_box.operations.prove import prove


@dataclass(frozen=True)
class PromoteOutcome:
    """``version`` is the champion now; ``before`` is the reference of the one it replaced, if there was one."""

    version: ModelVersion
    before: str | None

    def to_dict(self) -> dict[str, Any]:
        return {"version": self.version.ref, "before": self.before, "model": self.version.model}


def promote(box: Box, ref: str, *, reason: str) -> PromoteOutcome:
    """Make an accepted version the champion, after it proved on its golden rows that it still runs; without a rollout,
    and one that is under way ends.

    Raises:
        GateError: It was rejected by its gates, or its project asks for an approval and none stands, or
            parity of its features is broken and blocks.
        IntegrityError: Its files are damaged, or it no longer answers its golden rows.
        NotFoundError: There is no such version.
        UsageError: No reason was given.
    """
    reason = rollout.checked_reason(reason)
    version = box.models.get(ref)
    if version.state == "accepted":
        require_approval(box, version)
        require_parity(box, version)
        prove(box, version)
    before = box.models.champion_ref(version.model)
    outcome = PromoteOutcome(box.models.set_champion(version, reason=reason), before)
    rollout.advance(box, version.model)
    return outcome


def roll_back(box: Box, model: str, *, reason: str) -> PromoteOutcome:
    """Put the champion before the present one back. A rollout that is under way ends with it.

    Raises:
        NotFoundError: There is none.
        UsageError: No reason was given.
    """
    reason = rollout.checked_reason(reason)
    before = box.models.champion_ref(model)
    outcome = PromoteOutcome(box.models.roll_back(model, reason=reason), before)
    rollout.advance(box, model)
    return outcome
