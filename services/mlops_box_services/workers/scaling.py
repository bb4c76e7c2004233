"""How many workers there should be: a pure function of what they reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from mlops_box_services.workers.messages import Report


@dataclass(frozen=True)
class Policy:
    """When to grow and when to shrink.

    The thresholds lie far apart: after growing, the same load is below ``grow_demand`` and above ``shrink_demand``, so that
    a steady load never makes the number swing.

    Attributes:
        least, most: Bounds of the number of workers.
        cores: Processors of the machine.
        grow_demand: Processors a worker uses or waits for, from which on it counts as busy; a worker's Python runs on one.
        grow_lag_s: Lateness of the event loop from which on it counts as busy.
        grow_after_s: How long they must have been busy.
        shrink_demand: What each of the workers that remain may then have to do.
        shrink_lag_s: More lateness than this is no calm.
        calm_s: How long it must have been calm.
    """

    least: int
    most: int
    cores: int
    grow_demand: float = 0.8
    grow_lag_s: float = 0.05
    grow_after_s: float = 3.0
    shrink_demand: float = 0.4
    shrink_lag_s: float = 0.02
    calm_s: float = 60.0


@dataclass(frozen=True)
class Moment:
    """What all workers reported at one time (monotonic seconds)."""

    at_s: float
    reports: tuple[Report, ...]


def decide(policy: Policy, moments: Sequence[Moment], workers: int, now_s: float) -> int:
    """The number of workers there should be: at most one more or one fewer than now.

    Args:
        moments: Oldest first; those with another number of workers do not count.
        workers: How many there are.
        now_s: The same clock as the moments'.
    """
    if workers < policy.least:
        return workers + 1
    if workers > policy.most:
        return workers - 1
    if workers < policy.most and _throughout(moments, workers, now_s, policy.grow_after_s, policy, _is_busy):
        return workers + 1
    if workers > policy.least and _throughout(moments, workers, now_s, policy.calm_s, policy, _is_calm):
        return workers - 1
    return workers


def _throughout(
    moments: Sequence[Moment],
    workers: int,
    now_s: float,
    window_s: float,
    policy: Policy,
    holds: Callable[[Policy, Moment], bool],
) -> bool:
    """Whether it held at every moment of a window that was observed from its start."""
    recent = []
    for moment in reversed(moments):
        if len(moment.reports) != workers:
            return False
        recent.append(moment)
        if moment.at_s <= now_s - window_s:
            return all(holds(policy, item) for item in recent)
    return False


def _is_busy(policy: Policy, moment: Moment) -> bool:
    if sum(report.cpu for report in moment.reports) > 0.95 * policy.cores:
        # They have the whole machine already; one more would only make all of them wait.
        return False
    demand = fmean(report.demand for report in moment.reports)
    lag_s = fmean(report.lag_s for report in moment.reports)
    return demand >= policy.grow_demand or lag_s >= policy.grow_lag_s


def _is_calm(policy: Policy, moment: Moment) -> bool:
    rest = len(moment.reports) - 1
    demand = sum(report.demand for report in moment.reports) / rest
    lag_s = max(report.lag_s for report in moment.reports)
    return demand <= policy.shrink_demand and lag_s <= policy.shrink_lag_s
