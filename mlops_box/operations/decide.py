"""From alerts to retrainings: decide, write it down, then act; at most once per piece of evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mlops_box.box import Box
from mlops_box.clock import isoformat, parse_time
from mlops_box.errors import BoxError, UnavailableError
from mlops_box.monitoring.decisions import Decision, DecisionState
from mlops_box.monitoring.policy import decide
from mlops_box.operations.launch import Launcher
from mlops_box.operations.monitor_windows import Watched
from mlops_box.operations.rollout import checked_reason
from mlops_box.operations.triggers import triggers
from mlops_box.runs import Run

MAX_ATTEMPTS = 3  # starts of one decision; each earlier one died before it ended
NEVER_STARTED_AFTER = timedelta(hours=6)

_RESULTS: dict[str, tuple[DecisionState, str]] = {
    "completed": ("done", "a new version was registered"),
    "rejected": ("done", "the new version was rejected by its gates; the champion stays"),
    "refused": ("failed", "the data were refused by their contract"),
    "failed": ("failed", "the training failed"),
    "crashed": ("failed", "the training's process died"),
    "cancelled": ("failed", "the training was cancelled"),
}


@dataclass(frozen=True)
class DispatchOutcome:
    """What became of the pending decisions."""

    decisions: tuple[Decision, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"decisions": [decision.to_dict() for decision in self.decisions]}


def decide_for(box: Box, watched: Watched) -> list[Decision]:
    """Judge every trigger that stands for a model; returns the decisions made or revised now."""
    if watched.declaration is None:
        return []
    made = []
    for trigger in triggers(box, watched):
        before = box.decisions.by_key(trigger.idempotency_key)
        history = box.decisions.history(watched.model)
        draft = decide(watched.declaration.retrain, trigger, history, box.clock.now())
        decision = box.decisions.record(draft)
        if before is None or before.state != decision.state:
            made.append(decision)
    return made


def dispatch_pending(box: Box, launcher: Launcher, *, only: str | None = None) -> DispatchOutcome:
    """Start what is pending. A decision whose launcher does not answer stays pending and is tried again next time.

    Args:
        launcher: Starts a training at most once per key, so that a crash between start and note does no harm.
        only: Only the decision with this id.
    """
    pending = [item for item in box.decisions.list(state="pending", limit=1000) if only in (None, item.id)]
    for decision in reversed(pending):
        _start(box, launcher, decision)
    settle(box)
    return DispatchOutcome(tuple(box.decisions.get(decision.id) for decision in reversed(pending)))


def accept(box: Box, decision_id: str, launcher: Launcher | None) -> Decision:
    """Say yes to a suggestion. Without a launcher it stays pending for the next monitor run.

    Raises:
        NotFoundError: No such decision.
        UsageError: It is no suggestion.
    """
    decision = box.decisions.accept(decision_id)
    if launcher is not None:
        dispatch_pending(box, launcher, only=decision.id)
    return box.decisions.get(decision.id)


def decline(box: Box, decision_id: str, *, reason: str) -> Decision:
    """Say no to a suggestion. New evidence may lead to another one.

    Raises:
        NotFoundError: No such decision.
        UsageError: It is no suggestion, or no reason was given.
    """
    return box.decisions.decline(decision_id, reason=checked_reason(reason))


def settle(box: Box) -> list[Decision]:
    """Close issued decisions whose training has ended; returns them."""
    closed = []
    for decision in box.decisions.list(state="issued", limit=1000):
        run = run_of(box, decision)
        if run is None:
            issued_at = parse_time(decision.facts["issued_at"])
            if box.clock.now() - issued_at > NEVER_STARTED_AFTER:
                facts = {"result": "never_started", "text": "it was handed over, but no training ever began"}
                closed.append(box.decisions.mark(decision.id, "failed", **facts))
        elif run.state in _RESULTS:
            closed.append(_close(box, decision, run))
    return closed


def run_of(box: Box, decision: Decision) -> Run | None:
    """The newest training that was started for a decision."""
    key = decision.idempotency_key
    row = box.db.one(
        "SELECT id FROM runs WHERE kind = 'train' AND (idempotency_key = :key "
        "OR substr(idempotency_key, 1, :length) = :key || '~' OR id = :run OR flow_run_id = :run) "
        "ORDER BY started_at DESC, id DESC LIMIT 1",
        {"key": key, "length": len(key) + 1, "run": decision.run_id},
    )
    return box.runs.get(row["id"]) if row else None


def _start(box: Box, launcher: Launcher, decision: Decision) -> None:
    attempts = int(decision.facts.get("attempts", 0))
    if attempts >= MAX_ATTEMPTS:
        text = f"it was started {attempts} times and its process died each time"
        box.decisions.mark(decision.id, "failed", result="crashed", text=text)
        return
    before = decision.facts.get("issued_at")
    box.decisions.mark(
        decision.id, "pending", attempts=attempts + 1, issued_at=isoformat(box.clock.now()), waiting=None
    )
    try:
        run_id = launcher.train(
            decision.project, idempotency_key=decision.idempotency_key, trigger=decision.trigger
        )
    except UnavailableError as error:
        # Nothing was started: neither the attempt nor the cooldown counts.
        box.decisions.mark(decision.id, "pending", attempts=attempts, issued_at=before, waiting=error.message)
    except BoxError as error:
        box.decisions.mark(decision.id, "failed", result=error.code, text=error.message)
    else:
        box.decisions.mark(decision.id, "issued", run_id=run_id)


def _close(box: Box, decision: Decision, run: Run) -> Decision:
    state, text = _RESULTS[run.state]
    version = box.models.for_run(run.id)
    return box.decisions.mark(
        decision.id,
        state,
        run_id=run.id,
        result=run.state,
        text=f"{text}{': ' + run.error if run.error else ''}",
        version=version.ref if version else None,
        promoted=bool((run.result or {}).get("promoted")),
    )
