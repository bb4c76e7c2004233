"""The stages that a declaration asks for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from mlops_box.project.serve import Rollout as Plan

LiveState = Literal["shadow", "canary"]


@dataclass(frozen=True)
class Stage:
    """One stage of a rollout.

    Attributes:
        step: Counts the canary percentages from 0; 0 for the shadow.
        percent: Share of the requests that the candidate answers; 0 in the shadow, where it only sees copies.
        lasts: The least time before the next stage.
    """

    state: LiveState
    step: int
    percent: int
    lasts: timedelta

    def __str__(self) -> str:
        return f"canary {self.percent} %" if self.state == "canary" else "shadow"


def stages(plan: Plan) -> tuple[Stage, ...]:
    """All stages in order.

    >>> [str(stage) for stage in stages(Plan(shadow="10m", canary=[5, 25]))]
    ['shadow', 'canary 5 %', 'canary 25 %']
    """
    shadow = (Stage("shadow", 0, 0, plan.shadow),) if plan.shadow is not None else ()
    canary = tuple(Stage("canary", step, percent, plan.step) for step, percent in enumerate(plan.canary))
    return shadow + canary


__all__ = ["LiveState", "Plan", "Stage", "stages"]
