"""What the counts of a stage prove: the candidate is good, it is bad, or it cannot be told yet.

*Bad* must be proven at a level of :data:`FALSE_ALARM` for the whole rollout, all its stages, signals and looks together: a
candidate that is no worse than the champion is rolled back by mistake with at most this probability. *Good* must be proven
too, for every signal, at :data:`~mlops_box.serving.rollout.signals.FALSE_PASS` each: nothing is promoted for lack of evidence against it. Both by the
always-valid tests of :mod:`mlops_box.serving.rollout.sequential`. Ground truth may never come and is not waited for, but where it
leans against the candidate, nothing moves on (:mod:`mlops_box.serving.rollout.suspicion`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import log
from typing import Any

from mlops_box.serving.rollout.evidence import Counts, StageEvidence
from mlops_box.serving.rollout.plan import LiveState, Plan, Stage, stages
from mlops_box.serving.rollout.sequential import Sum, log_e_above
from mlops_box.serving.rollout.signals import SIGNALS, Bar, Outcome, Signal, look
from mlops_box.serving.rollout.suspicion import LEANS, lean

FALSE_ALARM = 0.01


@dataclass(frozen=True)
class Verdict:
    """What is known of one stage.

    Attributes:
        requests: That the candidate answered, or got a copy of.
        tripped: Why the circuit breaker took the candidate out; empty while it did not.
        reason: One line.
    """

    outcome: Outcome
    reason: str
    requests: int
    signals: tuple[Signal, ...]
    tripped: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome, "reason": self.reason, "requests": self.requests, "tripped": self.tripped,
            "signals": [signal.to_dict() for signal in self.signals],
        }  # fmt: skip


def judge(
    plan: Plan,
    stage: Stage,
    evidence: Mapping[tuple[LiveState, int], StageEvidence],
    *,
    truth_expected: bool = False,
    vouching: bool = True,
) -> Verdict:
    """The verdict on the present stage; earlier ones can still condemn (a truth may come late), but not vouch.

    To answer differently is a fault, unless ground truth proves the new version better. In the shadow, where nobody is
    answered by it, that proof is waited for where ground truth is expected.

    Args:
        vouching: Whether to look for proof that the candidate is good, which takes longer than finding it bad.
        truth_expected: Whether the champion's predictions usually get their truth.
    """
    needed = 1 / FALSE_ALARM * sum(len(SIGNALS[one.state]) for one in stages(plan))
    nothing = StageEvidence(stage.state, stage.step, Counts(), Counts())
    truth = _Truth(
        lean(evidence.values()), is_better=_is_better(evidence.values(), needed), is_expected=truth_expected
    )
    here = (stage.state, stage.step)
    now = _judge_stage(plan, evidence.get(here, nothing), Bar(needed, vouching), truth)
    if now.outcome == "bad":
        return now
    for key, earlier in evidence.items():
        if key != here:
            found = _judge_stage(plan, earlier, Bar(needed, vouching=False), truth)
            if found.outcome == "bad":
                return found
    return now


@dataclass(frozen=True)
class _Truth:
    """What the ground truth of all stages together says.

    Attributes:
        lean: Against the candidate, in standard deviations.
        is_better: The candidate is proven to be better.
        is_expected: Predictions usually get their truth.
    """

    lean: float
    is_better: bool
    is_expected: bool


def _judge_stage(plan: Plan, evidence: StageEvidence, bar: Bar, truth: _Truth) -> Verdict:
    signals = look(evidence, plan.limits, bar)
    if truth.is_better:
        signals = tuple(_excused(signal) for signal in signals)
    elif truth.is_expected and evidence.state == "shadow":
        signals = tuple(_awaited(signal) for signal in signals)
    if truth.lean >= LEANS and not truth.is_better:
        signals = tuple(_suspected(signal, truth.lean) for signal in signals)
    requests, tripped = evidence.candidate.requests, evidence.candidate.tripped
    if tripped:
        return Verdict("bad", f"the circuit breaker opened: {tripped}", requests, signals, tripped)
    bad = [signal for signal in signals if signal.outcome == "bad"]
    if bad:
        worst = max(bad, key=lambda signal: signal.evidence)
        return Verdict("bad", f"{worst.name}: {worst.text}", requests, signals)
    if requests < plan.min_requests:
        reason = f"too little traffic: {requests} of {plan.min_requests} requests"
        return Verdict("cannot_tell", reason, requests, signals)
    open_ = [signal for signal in signals if signal.required and signal.outcome != "good"]
    if open_:
        return Verdict("cannot_tell", f"{open_[0].name}: {open_[0].text}", requests, signals)
    return Verdict("good", f"{requests} requests, nothing worse than allowed", requests, signals)


def _is_better(evidence: Iterable[StageEvidence], needed: float) -> bool:
    """Whether the ground truth of all stages proves the candidate better, as surely as worse must be proven."""
    mine, theirs = Counts(), Counts()
    for stage in evidence:
        mine.add(stage.candidate)
        theirs.add(stage.champion)
    if not mine.truths or not theirs.truths:
        return False
    return log_e_above(Sum(theirs.truths, theirs.loss), Sum(mine.truths, mine.loss)) >= log(needed)


def _excused(signal: Signal) -> Signal:
    """To differ from a champion is no fault in who is proven better than it: after the world has changed, it must."""
    if signal.name not in ("disagreement", "predictions") or signal.outcome == "good":
        return signal
    return replace(
        signal, outcome="good", text=f"{signal.text}; but ground truth proves the new version better"
    )


def _suspected(signal: Signal, lean: float) -> Signal:
    """Not proven worse, but nothing moves on before it is either proven or not so any more."""
    if signal.name != "quality" or signal.outcome == "bad":
        return signal
    text = f"{signal.text}; over all stages {lean:.1f} standard deviations worse, fewer than {LEANS:.1f} may go on"
    values = {**signal.values, "lean": lean, "leans": LEANS}
    return replace(signal, outcome="cannot_tell", text=text, values=values, suspicious=True)


def _awaited(signal: Signal) -> Signal:
    if signal.name != "disagreement" or signal.outcome != "bad":
        return signal
    return replace(
        signal, outcome="cannot_tell", text=f"{signal.text}; ground truth must prove the new version better"
    )
