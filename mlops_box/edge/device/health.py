"""Whether a version on trial has proved itself: a pure function of what was observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from .probe import Counts

ENOUGH_PREDICTIONS = 200
MIN_PREDICTIONS = 20
MAX_SPOILT = 0.05


@dataclass(frozen=True)
class Patience:
    """How long to look.

    Attributes:
        ready_s: A start may take so long until ``/readyz``.
        steady_s: A version must be ready so long without a crash, whatever else.
        probation_s: A version with fewer than 200 predictions by then is judged by those that there were.
    """

    ready_s: float = 30.0
    steady_s: float = 10.0
    probation_s: float = 60.0


@dataclass(frozen=True)
class Observation:
    """What was seen of a trial.

    Attributes:
        golden: What the golden test found; ``None`` while it runs.
        ready_for_s: Since ``/readyz`` first answered; ``None`` before that.
        started_for_s: Since the start.
    """

    golden: Sequence[str] | None
    started_for_s: float
    ready_for_s: float | None
    rss_bytes: int
    counts: Counts


@dataclass(frozen=True)
class Verdict:
    """``good``: confirm. ``bad``: fall back at once. ``failed``: this start is lost, the next may do. ``hold``: wait."""

    what: str
    why: str = ""


HOLD = Verdict("hold")


def judge(seen: Observation, most_rss_bytes: int, patience: Patience) -> Verdict:
    """Bad needs proof, good needs proof; otherwise wait.

    A wrong answer is no accident: it condemns the version. Memory and slowness may be one: they cost an attempt.
    """
    if seen.golden:
        return Verdict("bad", f"golden test: {seen.golden[0]}")
    if seen.counts.all >= MIN_PREDICTIONS and seen.counts.spoilt > MAX_SPOILT * seen.counts.all:
        return Verdict("bad", f"{seen.counts.spoilt} of its first {seen.counts.all} predictions failed")
    if seen.rss_bytes > most_rss_bytes:
        return Verdict("failed", f"{seen.rss_bytes} bytes of memory, {most_rss_bytes} are allowed")
    if seen.ready_for_s is None:
        late = seen.started_for_s > patience.ready_s
        return Verdict("failed", f"not ready within {patience.ready_s:g} s") if late else HOLD
    if seen.golden is None or seen.ready_for_s < patience.steady_s:
        return HOLD
    if seen.counts.all < ENOUGH_PREDICTIONS and seen.ready_for_s < patience.probation_s:
        return HOLD
    return Verdict("good")
