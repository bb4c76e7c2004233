"""What is compared of a candidate and its champion, one comparison a signal: errors, latency, predictions, quality."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from math import ceil, exp, log
from typing import Any, Literal

from mlops_box.project.serve import RolloutLimits
from mlops_box.serving.rollout.evidence import LATENCY_EDGES_S, StageEvidence
from mlops_box.serving.rollout.plan import LiveState
from mlops_box.serving.rollout.sequential import (
    Sum,
    log_e_above,
    log_e_below,
    log_e_over,
    log_e_under,
    log_mean_exp,
)

Outcome = Literal["good", "bad", "cannot_tell"]
SignalName = Literal["errors", "latency", "predictions", "disagreement", "quality"]

FALSE_PASS = 0.05
# A difference of less than this many seconds is nobody's business.
LATENCY_FLOOR_S = 0.001
# Of the candidate's requests this share may be slower than the limit allows before it counts as not proven fast.
LATENCY_SLACK = 0.1
SIGNALS: dict[LiveState, tuple[SignalName, ...]] = {
    "shadow": ("errors", "disagreement", "quality"),
    "canary": ("errors", "latency", "predictions", "quality"),
}
_GOOD = log(1 / FALSE_PASS)


@dataclass(frozen=True)
class Signal:
    """One comparison.

    Attributes:
        evidence: The e-value against "the candidate is no worse": ``needed`` of it is proof.
        suspicious: It leans against the candidate so much that nothing may move on.
        required: Whether a promotion waits for it. Ground truth may never come, so quality can only condemn, or hold.
    """

    name: SignalName
    outcome: Outcome
    text: str
    evidence: float
    needed: float
    values: dict[str, float] = field(default_factory=dict)
    suspicious: bool = False

    @property
    def required(self) -> bool:
        return self.name != "quality" or self.suspicious

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name, "outcome": self.outcome, "text": self.text,
            "evidence": _rounded(self.evidence), "needed": _rounded(self.needed), "suspicious": self.suspicious,
            "values": {key: _rounded(value) for key, value in self.values.items()},
        }  # fmt: skip


@dataclass(frozen=True)
class Bar:
    """The e-value that proves bad, and whether to look for proof of good too, which takes longer."""

    needed: float
    vouching: bool


def look(evidence: StageEvidence, limits: RolloutLimits, bar: Bar) -> tuple[Signal, ...]:
    """All signals of a stage."""
    return tuple(_TESTS[name](evidence, limits, bar) for name in SIGNALS[evidence.state])


_Test = Callable[[StageEvidence, RolloutLimits, Bar], Signal]


def _errors(evidence: StageEvidence, limits: RolloutLimits, bar: Bar) -> Signal:
    candidate, champion = evidence.candidate, evidence.champion
    mine, theirs = Sum(candidate.requests, candidate.failed), Sum(champion.requests, champion.failed)
    bad = log_e_above(mine, theirs)
    good = bar.vouching and log_e_below(mine, theirs, margin=limits.errors) >= _GOOD
    kinds = ", ".join(
        f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(candidate.failures.items())
    )
    text = (
        f"{mine.mean:.2%} of {mine.n:.0f} requests failed{f' ({kinds})' if kinds else ''}, "
        f"{theirs.mean:.2%} of the champion's {theirs.n:.0f}; {limits.errors:.2%} more are allowed"
    )
    values = {"candidate": mine.mean, "champion": theirs.mean, "limit": limits.errors}
    return _signal("errors", bad, good, text, values, bar)


def _latency(evidence: StageEvidence, limits: RolloutLimits, bar: Bar) -> Signal:
    """At every latency of the champion: is the share of requests slower than that, times the limit, any larger?"""
    candidate, champion = evidence.candidate, evidence.champion
    mine, theirs = _slower(candidate.latency), _slower(champion.latency)
    pairs = [
        (mine[place], theirs[edge])
        for edge, latency_s in enumerate(LATENCY_EDGES_S)
        if (place := _allowed(latency_s, limits.latency)) is not None
    ]
    bad = _any_above(pairs, margin=0.0)
    good = bar.vouching and bool(pairs) and _all_below(pairs, margin=LATENCY_SLACK)
    ours, other = _quantile(candidate.latency, 0.95), _quantile(champion.latency, 0.95)
    text = (
        f"95 % within {ours * 1000:.3g} ms, the champion's within {other * 1000:.3g} ms; "
        f"{limits.latency:g} times slower is allowed"
    )
    values = {"candidate_p95_s": ours, "champion_p95_s": other, "limit": limits.latency}
    return _signal("latency", bad, good, text, values, bar)


def _predictions(evidence: StageEvidence, limits: RolloutLimits, bar: Bar) -> Signal:
    """Kolmogorov and Smirnov's distance between the binned predictions, both ways."""
    mine, theirs = _sums(evidence.candidate.predictions), _sums(evidence.champion.predictions)
    pairs = list(zip(mine, theirs, strict=False))[:-1]
    pairs += [(a.mirrored(), b.mirrored()) for a, b in pairs]
    gap = max((a.mean - b.mean for a, b in pairs), default=0.0)
    bad = _any_above(pairs, margin=limits.predictions)
    good = bar.vouching and bool(pairs) and _all_below(pairs, margin=limits.predictions)
    text = f"distance {gap:.2f} from the champion's; {limits.predictions:.2f} is allowed"
    return _signal("predictions", bad, good, text, {"distance": gap, "limit": limits.predictions}, bar)


def _disagreement(evidence: StageEvidence, limits: RolloutLimits, bar: Bar) -> Signal:
    found = Sum(evidence.candidate.compared, evidence.candidate.disagreement)
    bad = log_e_over(found, limits.disagreement)
    good = bar.vouching and log_e_under(found, limits.disagreement) >= _GOOD
    text = (
        f"{found.mean:.1%} of the answers to {found.n:.0f} copied requests differ from the champion's; "
        f"{limits.disagreement:.1%} are allowed"
    )
    values = {"share": found.mean, "limit": limits.disagreement}
    return _signal("disagreement", bad, good, text, values, bar)


def _quality(evidence: StageEvidence, limits: RolloutLimits, bar: Bar) -> Signal:
    candidate, champion = evidence.candidate, evidence.champion
    mine, theirs = Sum(candidate.truths, candidate.loss), Sum(champion.truths, champion.loss)
    if not mine.n or not theirs.n:
        return _signal("quality", 0.0, False, "no ground truth yet", {}, bar)
    bad = log_e_above(mine, theirs)
    text = f"mean loss {mine.mean:.3f} on {mine.n:.0f} truths, the champion's {theirs.mean:.3f} on {theirs.n:.0f}"
    good = bar.vouching and log_e_below(mine, theirs, margin=limits.errors) >= _GOOD
    return _signal("quality", bad, good, text, {"candidate": mine.mean, "champion": theirs.mean}, bar)


_TESTS: dict[SignalName, _Test] = {
    "errors": _errors, "latency": _latency, "predictions": _predictions,
    "disagreement": _disagreement, "quality": _quality,
}  # fmt: skip


def _signal(
    name: SignalName, log_bad: float, good: bool, text: str, values: dict[str, float], bar: Bar
) -> Signal:
    proven = log_bad >= log(bar.needed)
    outcome: Outcome = "bad" if proven else "good" if good else "cannot_tell"
    return Signal(name, outcome, text, exp(min(log_bad, 700.0)), bar.needed, values)


def _any_above(pairs: list[tuple[Sum, Sum]], *, margin: float) -> float:
    """The log e-value against "nowhere above"; only where it is above on average can it be more than 1."""
    above = [log_e_above(a, b, margin=margin) for a, b in pairs if a.n and b.n and a.mean > b.mean + margin]
    return log_mean_exp(above, count=max(len(pairs), 1)) if above else 0.0


def _all_below(pairs: list[tuple[Sum, Sum]], *, margin: float) -> bool:
    # The likeliest to fail first: one that is not proven ends it. Many bins are empty, and their pairs the same.
    ordered = sorted(set(pairs), key=lambda pair: pair[1].mean - pair[0].mean)
    return all(log_e_below(a, b, margin=margin) >= _GOOD for a, b in ordered)


def _allowed(latency_s: float, ratio: float) -> int | None:
    """The edge that a latency of the champion allows the candidate; ``None`` beyond the last."""
    place = bisect_left(LATENCY_EDGES_S, max(latency_s * ratio, latency_s + LATENCY_FLOOR_S))
    return place if place < len(LATENCY_EDGES_S) else None


def _slower(histogram: list[int]) -> list[Sum]:
    """For each edge, the requests that took longer."""
    total = sum(histogram)
    return [Sum(total, total - below) for below in accumulate(histogram[:-1])]


def _sums(shares: list[float]) -> list[Sum]:
    """For each bin, the share of requests in it or below."""
    total = round(sum(shares), 9)
    return [Sum(total, min(below, total)) for below in accumulate(shares)]


def _quantile(histogram: list[int], level: float) -> float:
    total = sum(histogram)
    if not total:
        return 0.0
    place = bisect_left(list(accumulate(histogram)), ceil(level * total))
    return LATENCY_EDGES_S[min(place, len(LATENCY_EDGES_S) - 1)]


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
