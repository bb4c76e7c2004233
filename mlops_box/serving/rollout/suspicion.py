"""When ground truth leans against a candidate without proving it worse: a reason to hold, not to roll back.

Proof that stands up to any number of looks needs more ground truth than a short stage sees. Until it has come, a candidate that
looks worse must not move on; one that only had bad luck is released as more truths come in.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from statistics import NormalDist

from mlops_box.serving.rollout.evidence import StageEvidence
from mlops_box.serving.rollout.sequential import Sum

# One of twenty harmless candidates looks as bad at one look; most are released by the next truths.
LEVEL = 0.05
LEANS = NormalDist().inv_cdf(1 - LEVEL)


def lean(evidence: Iterable[StageEvidence]) -> float:
    """How far the candidate's losses exceed the champion's over all stages, in standard deviations; 0 where they do not.

    The stages are strata: each compares both versions at the same time, so that a bad day hurts both alike, whatever share
    of the requests the candidate had. Suspicious from :data:`LEANS` on.

    Source: Mantel and Haenszel (1959), "Statistical aspects of the analysis of data from retrospective studies of disease",
    J. Natl. Cancer Inst. 22(4), with the continuity correction, one-sided. For losses between 0 and 1 instead of 0 or 1 the
    variance is an upper bound, and the lean the smaller.
    """
    excess = variance = 0.0
    for stage in evidence:
        mine = Sum(stage.candidate.truths, stage.candidate.loss)
        theirs = Sum(stage.champion.truths, stage.champion.loss)
        truths, lost = mine.n + theirs.n, mine.total + theirs.total
        if not mine.n or not theirs.n:
            continue
        excess += mine.total - mine.n * lost / truths
        variance += mine.n * theirs.n * lost * (truths - lost) / (truths**2 * (truths - 1))
    return max(0.0, excess - 0.5) / sqrt(variance) if variance > 0 else 0.0
