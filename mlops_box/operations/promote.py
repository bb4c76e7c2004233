"""Promote a version by hand, or roll back to the champion before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlops_box.box import Box
from mlops_box.errors import IntegrityError, UsageError
from mlops_box.models.store import CHAMPION
from mlops_box.models.values import GOLDEN_FILE, PACKED_FILE, ModelVersion
from mlops_box.operations.approve import require_approval


@dataclass(frozen=True)
class PromoteOutcome:
    """``version`` is the champion now; ``before`` is the reference of the one it replaced, if there was one."""

    version: ModelVersion
    before: str | None

    def to_dict(self) -> dict[str, Any]:
        return {"version": self.version.ref, "before": self.before, "model": self.version.model}


def promote(box: Box, ref: str, *, reason: str) -> PromoteOutcome:
    """Make an accepted version the champion, after it proved on its golden rows that it still runs.

    Raises:
        GateError: It was rejected by its gates, or its project asks for an approval and none stands.
        IntegrityError: Its files are damaged, or it no longer answers its golden rows.
        NotFoundError: There is no such version.
        UsageError: No reason was given.
    """
    reason = _checked(reason)
    version = box.models.get(ref)
    if version.state == "accepted":
        require_approval(box, version)
        _prove(box, version)
    before = _champion(box, version.model)
    return PromoteOutcome(box.models.set_champion(version, reason=reason), before)


def roll_back(box: Box, model: str, *, reason: str) -> PromoteOutcome:
    """Put the champion before the present one back.

    Raises:
        NotFoundError: There is none.
        UsageError: No reason was given.
    """
    reason = _checked(reason)
    before = _champion(box, model)
    return PromoteOutcome(box.models.roll_back(model, reason=reason), before)


def _checked(reason: str) -> str:
    reason = " ".join(reason.split())
    if not reason:
        raise UsageError("a reason is needed: it stands in the ledger", hint='--reason "..."')
    return reason


def _champion(box: Box, model: str) -> str | None:
    number = box.models.aliases(model).get(CHAMPION)
    return f"{model}@{number}" if number is not None else None


def _prove(box: Box, version: ModelVersion) -> None:
    from mlops_box.models.golden import Golden, check_golden
    from mlops_box.models.runtime import OnnxModel

    model = OnnxModel(box.models.file(version, PACKED_FILE), version.signature)
    problems = check_golden(model, Golden.from_json(box.models.file(version, GOLDEN_FILE)))
    if problems:
        raise IntegrityError(
            f"{version.ref} does not answer its golden rows here: {problems[0]}",
            hint="the runtime differs from the one it was made with; train again",
        )
