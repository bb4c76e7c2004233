"""Let a version in by a rollout; look at it, hold it, skip the rest of it, end it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mlops_box.box import Box
from mlops_box.errors import BusyError, NotFoundError, UsageError
from mlops_box.ids import check_name
from mlops_box.models.store import CHAMPION
from mlops_box.models.values import GOLDEN_FILE, REFERENCE_FILE, ModelVersion
from mlops_box.operations.approval import lacks_approval, require_approval
from mlops_box.operations.features.parity_gate import parity_block, require_parity
from mlops_box.operations.prove import prove
from mlops_box.serving.rollout import driver
from mlops_box.serving.rollout.driver import Move
from mlops_box.serving.rollout.states import Rollout, Transition
from mlops_box.serving.rollout.store import abort as aborted
from mlops_box.serving.rollout.verdict import Verdict
from mlops_box.serving.rollout.yardstick import Yardstick, yardstick_for

_SAMPLE = 500


@dataclass(frozen=True)
class RolloutStatus:
    """A rollout and what it waits for.

    Attributes:
        waits_for: Why it does not move; its last reason when it is over.
        verdict: On its present stage; ``None`` before the first and after the last.
    """

    rollout: Rollout
    waits_for: str
    verdict: Verdict | None

    def to_dict(self) -> dict[str, Any]:
        verdict = self.verdict.to_dict() if self.verdict else None
        return {**self.rollout.to_dict(), "waits_for": self.waits_for, "verdict": verdict}


def kept_out(box: Box, version: ModelVersion) -> str | None:
    """Why a version may not become champion at once; a rollout holds it back by itself, after its shadow."""
    registered = box.projects.for_model(version.model)
    if registered is not None and registered.declaration.serve.rollout.is_declared:
        return None
    return parity_block(box, version)


def let_in(box: Box, version: ModelVersion, *, reason: str) -> Rollout | None:
    """An accepted version's next step: a rollout where its project declares one, else it is champion at once (``None``).

    The first version of a model has nobody to be compared with, and becomes champion at once too.

    Raises:
        GateError: The version was rejected by its gates.
    """
    base = box.models.champions().get(version.model)
    registered = box.projects.for_model(version.model)
    plan = registered.declaration.serve.rollout if registered else None
    if base is None or plan is None or not plan.is_declared or base.number == version.number:
        box.models.set_champion(version, reason=reason)
        return None
    yardstick = _yardstick(box, base)
    return box.rollouts.propose(version, base=base.number, plan=plan, yardstick=yardstick, reason=reason)


def start(box: Box, ref: str, *, reason: str) -> RolloutStatus:
    """Propose a version by hand.

    Raises:
        IntegrityError: It no longer answers its golden rows.
        NotFoundError: There is no such version.
        UsageError: It was rejected, is the champion, its project declares no rollout, or no reason was given.
    """
    reason = checked_reason(reason)
    version = box.models.get(ref)
    registered = box.projects.for_model(version.model)
    if version.state == "rejected":
        raise UsageError(f"{version.ref} was rejected by its gates", hint=f"mlops-box why {version.ref}")
    if registered is None or not registered.declaration.serve.rollout.is_declared:
        raise UsageError(
            f"the project of {version.model} declares no rollout",
            hint=f"declare shadow or canary under [serve] rollout, or: mlops-box models promote {version.ref}",
        )
    champion = box.models.aliases(version.model).get(CHAMPION)
    if champion in (None, version.number):
        said = (
            f"{version.ref} is the champion"
            if champion
            else f"{version.model} has no champion to compare with"
        )
        raise UsageError(
            f"{said}: there is nothing to roll out", hint=f"mlops-box models promote {version.ref}"
        )
    prove(box, version)
    rollout = let_in(box, version, reason=f"{reason} ({box.actor})")
    assert rollout is not None
    advance(box, version.model)
    return _status(box, box.rollouts.get(rollout.id))


def advance(box: Box, model: str | None = None) -> list[Move]:
    """Make every transition that is due; the same again changes nothing."""
    return driver.tick(
        box.rollouts, box.clock, forbidden=lambda rollout: forbidden(box, rollout), model=model
    )


def forbidden(box: Box, rollout: Rollout) -> str | None:
    """Why a candidate may not answer live requests yet."""
    version = box.models.get(rollout.ref)
    if lacks_approval(box, version):
        return f'it waits for an approval: mlops-box models approve {rollout.ref} --reason "..."'
    return parity_block(box, version)


def status(box: Box, model: str | None = None) -> list[RolloutStatus]:
    """Open rollouts with what they wait for; for a model without one, its newest.

    Raises:
        NotFoundError: There is no such model.
    """
    if model is not None:
        _check_model(box, model)
    shown = box.rollouts.open(model)
    seen = {rollout.model for rollout in shown}
    for rollout in box.rollouts.list(model, limit=1000):
        if rollout.model not in seen:
            seen.add(rollout.model)
            shown.append(rollout)
    return [_status(box, rollout) for rollout in shown]


def pause(box: Box, model: str, *, reason: str) -> RolloutStatus:
    """Hold a model's rollout where it is; proof that the candidate is bad still ends it.

    Raises:
        NotFoundError: None is open.
    """
    reason = checked_reason(reason)
    return _status(box, box.rollouts.set_paused(_open(box, model), True, reason=_signed(box, reason)))


def resume(box: Box, model: str, *, reason: str) -> RolloutStatus:
    """Let a paused rollout go on; the time it stood still does not count.

    Raises:
        NotFoundError: None is open.
    """
    reason = checked_reason(reason)
    return _status(box, box.rollouts.set_paused(_open(box, model), False, reason=_signed(box, reason)))


def promote_now(box: Box, model: str, *, reason: str) -> RolloutStatus:
    """Skip the rest of a model's rollout: its candidate becomes champion.

    Raises:
        GateError: Its project asks for an approval and none stands, or parity of its features is broken and blocks.
        NotFoundError: None is open.
    """
    reason = checked_reason(reason)
    rollout = _open(box, model)
    version = box.models.get(rollout.ref)
    require_approval(box, version)
    require_parity(box, version)
    prove(box, version)
    return _end(box, rollout, Transition("champion", rollout.step, _signed(box, reason)))


def abort(box: Box, model: str, *, reason: str) -> RolloutStatus:
    """End a model's rollout; the champion answers every request again.

    Raises:
        NotFoundError: None is open.
    """
    reason = checked_reason(reason)
    rollout = _open(box, model)
    return _end(box, rollout, aborted(rollout, _signed(box, reason)))


def checked_reason(reason: str) -> str:
    """Raises :class:`UsageError` when there is none."""
    reason = " ".join(reason.split())
    if not reason:
        raise UsageError("a reason is needed: it stands in the ledger", hint='--reason "..."')
    return reason


def _end(box: Box, rollout: Rollout, transition: Transition) -> RolloutStatus:
    moved = box.rollouts.move(rollout, transition)
    if moved is None:
        raise BusyError(f"the rollout of {rollout.ref} changed just now", hint="mlops-box rollout status")
    return _status(box, moved)


def _signed(box: Box, reason: str) -> str:
    return f"by {box.actor}: {reason}"


def _check_model(box: Box, model: str) -> None:
    check_name(model, what="model name")
    if model not in box.models.models():
        raise NotFoundError(f"there is no model {model!r}", hint="mlops-box models list")


def _open(box: Box, model: str) -> Rollout:
    """The live one, or else the waiting one."""
    _check_model(box, model)
    found = box.rollouts.open(model)
    if not found:
        raise NotFoundError(
            f"no rollout of {model} is under way", hint=f"mlops-box rollout list --model {model}"
        )
    return found[0]


def _status(box: Box, rollout: Rollout) -> RolloutStatus:
    if not rollout.is_open:
        return RolloutStatus(rollout, rollout.reason, None)
    outcome = driver.look(box.rollouts, box.clock, lambda one: forbidden(box, one), rollout, thorough=True)
    due = f"{outcome.state.replace('_', ' ')} is due: " if isinstance(outcome, Transition) else ""
    return RolloutStatus(rollout, due + outcome.reason, outcome.verdict)


def _yardstick(box: Box, base: ModelVersion) -> Yardstick:
    numbers = _sample_predictions(box, base) if base.task == "regression" else []
    usual = yardstick_for(base.signature, numbers, error=base.metrics.get("mae"))
    return replace(usual, truth_expected=_gets_truth(box, base.model))


def _gets_truth(box: Box, model: str) -> bool:
    """Whether ground truth has come for this model lately: in one of its ten newest windows."""
    return any(window.rows_with_truth > 0 for window in box.windows.list(model, limit=10))


def _sample_predictions(box: Box, version: ModelVersion) -> list[float]:
    """What a regression's answers look like: its reference's counts spread over their edges, or its golden rows."""
    from mlops_box.models.golden import Golden
    from mlops_box.monitoring.reference import PREDICTION, NumericReference, Reference

    if REFERENCE_FILE in version.files:
        reference = Reference.from_bytes(box.models.file(version, REFERENCE_FILE))
        column = next((one for one in reference.columns if one.name == PREDICTION), None)
        if isinstance(column, NumericReference) and column.rows:
            share = _SAMPLE / column.rows
            return [
                edge
                for edge, count in zip(column.edges, column.counts, strict=False)
                for _ in range(round(count * share))
            ]
    golden = Golden.from_json(box.models.file(version, GOLDEN_FILE))
    return list(golden.prediction or ())
