"""A rollout and what may follow: proposed, shadow, canary step by step, champion; or rejected, or rolled back.

Pure: :func:`decide` looks at a situation and says what is to happen. :mod:`mlops_box.serving.rollout.store` makes it happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from mlops_box.clock import isoformat
from mlops_box.serving.rollout.evidence import StageEvidence
from mlops_box.serving.rollout.plan import LiveState, Plan, Stage, stages
from mlops_box.serving.rollout.verdict import Verdict, judge
from mlops_box.serving.rollout.yardstick import Yardstick
from mlops_box.units import format_duration

State = Literal["proposed", "shadow", "canary", "champion", "rejected", "rolled_back"]
OPEN: tuple[State, ...] = ("proposed", "shadow", "canary")


@dataclass(frozen=True)
class Rollout:
    """A new version's way to champion, as box.db tells it.

    Attributes:
        number: The candidate.
        base: The champion it was compared with; it ends when another one serves.
        base_since: When that became champion.
        step: Counts the canary percentages from 0.
        revision: Grows with every change.
        reason: Of the last change.
        started_at: When its first stage began; ``None`` while it waits.
        stage_at: Since when it is in its state and step.
        paused_at: Since when a person holds it; ``None`` when nobody does.
    """

    id: str
    model: str
    number: int
    base: int
    base_since: datetime
    project: str
    state: State
    step: int
    revision: int
    plan: Plan
    yardstick: Yardstick
    reason: str
    proposed_at: datetime
    started_at: datetime | None
    stage_at: datetime
    paused_at: datetime | None
    ended_at: datetime | None

    @property
    def ref(self) -> str:
        return f"{self.model}@{self.number}"

    @property
    def base_ref(self) -> str:
        return f"{self.model}@{self.base}"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def stage(self) -> Stage | None:
        """The stage it is in; ``None`` while it waits and when it is over."""
        return next(
            (one for one in stages(self.plan) if (one.state, one.step) == (self.state, self.step)), None
        )

    @property
    def stage_text(self) -> str:
        """Where it stands, for people: ``canary 25 %``, ``rolled back``, ``shadow, paused``."""
        stage = self.stage
        text = str(stage) if stage else self.state.replace("_", " ")
        return f"{text}, paused" if self.paused_at else text

    def to_dict(self) -> dict[str, Any]:
        stage = self.stage
        return {
            "id": self.id, "model": self.model, "version": self.ref, "base": self.base_ref, "project": self.project,
            "state": self.state, "step": self.step, "percent": stage.percent if stage else None,
            "revision": self.revision, "paused": self.paused_at is not None, "reason": self.reason,
            "proposed_at": isoformat(self.proposed_at),
            "started_at": isoformat(self.started_at) if self.started_at else None,
            "stage_at": isoformat(self.stage_at), "ended_at": isoformat(self.ended_at) if self.ended_at else None,
            "plan": self.plan.model_dump(mode="json"),
        }  # fmt: skip


@dataclass(frozen=True)
class Situation:
    """What a decision depends on.

    Attributes:
        champion: The number that serves.
        champion_since: Since when.
        under_way: Another rollout of the model has left ``proposed``.
        cools_until: When the model's last failed rollout is far enough in the past.
        thorough: Look for proof that the candidate is good before its stage is over, too: for people who want to know.
        forbidden: Why the candidate may not answer live requests yet (an approval is missing); ``None`` when it may.
    """

    now: datetime
    champion: int | None
    champion_since: datetime | None
    under_way: bool = False
    cools_until: datetime | None = None
    forbidden: str | None = None
    thorough: bool = False
    evidence: Mapping[tuple[LiveState, int], StageEvidence] = field(default_factory=dict)


@dataclass(frozen=True)
class Transition:
    """What is to happen. ``verdict`` is the evidence for it, where there is some."""

    state: State
    step: int
    reason: str
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Hold:
    """Nothing is to happen yet, and why."""

    reason: str
    verdict: Verdict | None = None


def decide(rollout: Rollout, situation: Situation) -> Transition | Hold:
    """The next move. Good needs proof, time and volume; bad needs proof only; nothing known is no reason to go on."""
    if not rollout.is_open:
        return Hold(f"it is over: {rollout.reason}")
    if situation.champion == rollout.number:
        return Transition("champion", rollout.step, "it was made champion outside of its rollout")
    if (situation.champion, situation.champion_since) != (rollout.base, rollout.base_since):
        return Transition(failed_state(rollout), rollout.step, _overtaken(rollout, situation.champion))
    stage = rollout.stage
    if stage is None:
        return _start(rollout, situation)
    left = stage.lasts - (situation.now - rollout.stage_at)
    is_due = left <= timedelta() or situation.thorough
    verdict = judge(
        rollout.plan, stage, situation.evidence,
        truth_expected=rollout.yardstick.truth_expected, vouching=is_due,
    )  # fmt: skip
    if verdict.outcome == "bad":
        return Transition(failed_state(rollout), rollout.step, verdict.reason, verdict)
    if rollout.paused_at is not None:
        return Hold("paused", verdict)
    assert rollout.started_at is not None
    if situation.now - rollout.started_at >= rollout.plan.longest:
        longest = format_duration(rollout.plan.longest.total_seconds())
        reason = f"not decided within {longest}: {verdict.reason}"
        return Transition(failed_state(rollout), rollout.step, reason, verdict)
    if verdict.outcome == "cannot_tell" and is_due:
        return Hold(verdict.reason, verdict)
    if left > timedelta():
        return Hold(f"{stage} lasts another {format_duration(left.total_seconds())}", verdict)
    state, step = _after(rollout.plan, stage)
    if situation.forbidden is not None and state in ("canary", "champion"):
        return Hold(situation.forbidden, verdict)
    return Transition(state, step, verdict.reason, verdict)


def failed_state(rollout: Rollout) -> State:
    """Rolled back when it has answered live requests, else rejected."""
    return "rolled_back" if rollout.state == "canary" else "rejected"


def _overtaken(rollout: Rollout, champion: int | None) -> str:
    if champion == rollout.base:
        return f"{rollout.base_ref} serves again, but another champion has come and gone since {rollout.ref} was proposed"
    serving = f"{rollout.model}@{champion}" if champion is not None else "nothing"
    return f"{serving} serves now, but {rollout.ref} was compared with {rollout.base_ref}"


def _start(rollout: Rollout, situation: Situation) -> Transition | Hold:
    if rollout.paused_at is not None:
        return Hold("paused")
    if situation.under_way:
        return Hold(f"another rollout of {rollout.model} is under way")
    if situation.cools_until is not None and situation.now < situation.cools_until:
        left = format_duration((situation.cools_until - situation.now).total_seconds())
        return Hold(f"the model cools down for another {left} after a failed rollout")
    first = stages(rollout.plan)[0]
    if situation.forbidden is not None and first.state == "canary":
        return Hold(situation.forbidden)
    return Transition(first.state, first.step, f"{first} begins")


def _after(plan: Plan, stage: Stage) -> tuple[State, int]:
    """What follows a stage that went well."""
    order = stages(plan)
    place = order.index(stage) + 1
    return (order[place].state, order[place].step) if place < len(order) else ("champion", stage.step)
