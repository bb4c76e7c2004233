"""Moves rollouts on. Any process may do it, as often as it likes: the server each second, a command, the monitor flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mlops_box.clock import Clock
from mlops_box.serving.rollout.states import Hold, Rollout, Situation, Transition, decide
from mlops_box.serving.rollout.store import RolloutStore

Forbidden = Callable[[Rollout], str | None]


@dataclass(frozen=True)
class Move:
    """What one look at a rollout came to.

    Attributes:
        rollout: As it stands afterwards.
        outcome: What was done, or why nothing was.
    """

    rollout: Rollout
    outcome: Transition | Hold

    @property
    def is_transition(self) -> bool:
        return isinstance(self.outcome, Transition)


def tick(
    store: RolloutStore, clock: Clock, *, forbidden: Forbidden = lambda _: None, model: str | None = None
) -> list[Move]:
    """Look at every open rollout once, or at those of one model, and make the transition that is due.

    Args:
        forbidden: Why a candidate may not answer live requests yet; ``None`` when it may.

    Raises:
        GateError: A candidate that its gates rejected would become champion.
    """
    return [_look(store, clock, forbidden, rollout) for rollout in store.open(model)]


def look(
    store: RolloutStore, clock: Clock, forbidden: Forbidden, rollout: Rollout, *, thorough: bool = False
) -> Transition | Hold:
    """What would be done with a rollout now; nothing is changed. ``thorough``: see :class:`Situation`."""
    champion = store.champion(rollout.model)
    failed_at = store.last_failure_at(rollout.model) if rollout.state == "proposed" else None
    situation = Situation(
        now=clock.now(),
        champion=champion.number if champion else None,
        champion_since=champion.since if champion else None,
        under_way=any(
            other.id != rollout.id and other.state != "proposed" for other in store.open(rollout.model)
        ),
        cools_until=failed_at + rollout.plan.cooldown if failed_at else None,
        forbidden=forbidden(rollout),
        thorough=thorough,
        evidence=store.evidence(rollout.id) if rollout.stage is not None else {},
    )
    return decide(rollout, situation)


def _look(store: RolloutStore, clock: Clock, forbidden: Forbidden, rollout: Rollout) -> Move:
    outcome = look(store, clock, forbidden, rollout)
    if isinstance(outcome, Hold):
        return Move(rollout, outcome)
    moved = store.move(rollout, outcome)
    if moved is None:
        return Move(store.get(rollout.id), Hold("another process was first"))
    return Move(moved, outcome)
