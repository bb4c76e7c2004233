"""Comparing two means at any time, as often as one likes: always-valid tests for values between 0 and 1.

The e-value of two samples against "a's mean is at most b's plus a margin" is the mixture likelihood of both samples over the
largest likelihood that the null hypothesis allows::

    e = m(a) m(b) / max { L_a(p + margin) L_b(p) : p },   L(p) = p^S (1 - p)^(n - S)

with S the sum of n values and m a mixture of L over p: Beta(1/2, 1/2) for any p, Beta(1/10, 1) and its mirror image for the
rates near 0 and 1 that errors have, a third each. Under the null hypothesis the chance that e EVER reaches
1/alpha, looked at after every request or now and then, is at most alpha (Ville's inequality). So no number of looks
inflates the false alarms, and only the sums n and S are needed, whatever the order and the process they came from.

Sources: mixtures over the largest null likelihood are the e-processes of Wasserman, Ramdas and Balakrishnan (2020),
"Universal inference", PNAS 117(29), section 7; two-sample binomial versions of Turner, Ly and Grünwald (2024), "Generic
E-variables for exact sequential k-sample tests that allow for optional stopping", J. Stat. Plan. Inference 230. Values
between 0 and 1 instead of just 0 or 1 are covered since the likelihood ratio is convex in the value (sub-Bernoulli:
Howard, Ramdas, McAuliffe and Sekhon (2021), "Time-uniform, nonparametric, nonasymptotic confidence sequences", Ann.
Statist. 49(2), which also gives the Beta mixture); where means move with time, the statement holds for their running
averages.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, lgamma, log

# (alpha, beta, log of the Beta function of both)
_PRIORS = tuple(
    (alpha, beta, lgamma(alpha) + lgamma(beta) - lgamma(alpha + beta))
    for alpha, beta in ((0.5, 0.5), (0.1, 1.0), (1.0, 0.1))
)
_ROUNDS = 60
_PRECISION = 1e-9
_TINY = 1e-150


@dataclass(frozen=True, slots=True)
class Sum:
    """``n`` values between 0 and 1 and their ``total``."""

    n: float
    total: float

    @property
    def mean(self) -> float:
        return self.total / self.n if self.n else 0.0

    def mirrored(self) -> Sum:
        """The sum of ``1 - value``."""
        return Sum(self.n, self.n - self.total)


def log_e_above(a: Sum, b: Sum, *, margin: float = 0.0) -> float:
    """The log e-value against "a's mean <= b's mean + margin": large where a is larger. -1 < margin < 1."""
    if a.n == 0 or b.n == 0 or a.mean <= b.mean + margin:
        return 0.0
    return _log_mixture(a) + _log_mixture(b) - _log_null(a, b, margin)


def log_e_below(a: Sum, b: Sum, *, margin: float = 0.0) -> float:
    """The log e-value against "a's mean >= b's mean + margin": large where a stays below that."""
    return log_e_above(a.mirrored(), b.mirrored(), margin=-margin)


def log_e_under(a: Sum, limit: float) -> float:
    """The log e-value against "a's mean >= limit", one sample: large where a stays below. 0 < limit < 1."""
    if a.n == 0 or a.mean >= limit:
        return 0.0
    return _log_mixture(a) - _log_likelihood(a, limit)


def log_e_over(a: Sum, limit: float) -> float:
    """The log e-value against "a's mean <= limit", one sample: large where a is above. 0 < limit < 1."""
    return log_e_under(a.mirrored(), 1 - limit)


def log_mean_exp(values: Iterable[float], *, count: int) -> float:
    """The log of the mean of e-values, the absent ones of ``count`` being 1: their mean is an e-value again, however
    they depend on each other (Vovk and Wang (2021), "E-values: calibration, combination and applications", Ann. Statist. 49(3)).
    """
    given = list(values)
    top = max([0.0, *given])
    total = sum(exp(value - top) for value in given) + (count - len(given)) * exp(-top)
    return top + log(total / count)


def _log_mixture(sample: Sum) -> float:
    rest = sample.n - sample.total
    parts = [
        lgamma(sample.total + alpha) + lgamma(rest + beta) - lgamma(sample.n + alpha + beta) - norm
        for alpha, beta, norm in _PRIORS
    ]
    top = max(parts)
    return top + log(sum(exp(part - top) for part in parts) / len(parts))


def _log_likelihood(sample: Sum, mean: float) -> float:
    rest = sample.n - sample.total
    found = sample.total * log(max(mean, _TINY)) if sample.total > 0 else 0.0
    return found + (rest * log(max(1 - mean, _TINY)) if rest > 0 else 0.0)


def _log_null(a: Sum, b: Sum, margin: float) -> float:
    """The largest log-likelihood with a's mean = b's mean + margin; it is concave in b's mean."""
    if margin == 0.0:
        pooled = (a.total + b.total) / (a.n + b.n)
        return _log_likelihood(a, pooled) + _log_likelihood(b, pooled)
    low, high = floor, top = max(0.0, -margin), min(1.0, 1.0 - margin)
    # Not at an end: there the likelihood is so steep that Newton's steps are too small to leave.
    best = min(max(b.mean, 0.9 * low + 0.1 * high), 0.1 * low + 0.9 * high)
    for _ in range(_ROUNDS):
        (rise, bend), (other_rise, other_bend) = _slope(a, best + margin), _slope(b, best)
        slope, curve = rise + other_rise, bend + other_bend
        if slope > 0:
            low = best
        else:
            high = best
        before, best = best, best - slope / curve if curve else low
        # Newton's step where it stays between the bounds, half of them where it does not.
        if not low < best < high:
            best = (low + high) / 2
        if abs(best - before) <= _PRECISION * min(best - floor, top - best):
            break
    return _log_likelihood(a, best + margin) + _log_likelihood(b, best)


def _slope(sample: Sum, mean: float) -> tuple[float, float]:
    """First and second derivative of the log-likelihood."""
    hit = sample.total / max(mean, _TINY)
    miss = (sample.n - sample.total) / max(1 - mean, _TINY)
    return hit - miss, -hit / max(mean, _TINY) - miss / max(1 - mean, _TINY)
