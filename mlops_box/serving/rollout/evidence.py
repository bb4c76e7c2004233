"""What is counted of both variants while a rollout is under way. Counts of processes and of stages add up.

Every request weighs the same: a request of a hundred rows is one request, since its rows are not a hundred independent
observations. What is counted by row enters as the request's share, a number between 0 and 1.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from mlops_box.canonical import canonical_json
from mlops_box.serving.rollout.plan import LiveState

Failure = Literal["raised", "timed_out", "not_finite", "wrong_shape"]
Variant = Literal["champion", "candidate"]

# Seconds, each 19 % above the one before: 0.25 ms to 69 s.
LATENCY_EDGES_S = tuple(0.00025 * 2 ** (step / 4) for step in range(73))


@dataclass
class Counts:
    """One stage and variant.

    Attributes:
        requests: Answered or failed.
        failures: Requests without a usable answer, by kind.
        latency: Requests by time to the answer, in the bins that :data:`LATENCY_EDGES_S` part.
        predictions: Requests by bin of the yardstick, as shares of their rows.
        compared: Requests whose rows both versions answered (shadow).
        disagreement: Shares of their rows with another answer, summed.
        truths: Predictions whose truth is known.
        loss: Their losses, 0 to 1, summed.
        dropped: Copies that the shadow had no time for.
        tripped: Why the circuit breaker took the candidate out; empty while it did not.
    """

    requests: int = 0
    rows: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    latency: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_EDGES_S) + 1))
    predictions: list[float] = field(default_factory=list)
    compared: int = 0
    disagreement: float = 0.0
    truths: int = 0
    loss: float = 0.0
    dropped: int = 0
    tripped: str = ""

    @property
    def failed(self) -> int:
        """Requests without a usable answer."""
        return sum(self.failures.values())

    def answered(self, rows: int, latency_s: float, bins: Sequence[int | None], size: int) -> None:
        """Count one usable answer.

        Args:
            bins: The bin of each row's prediction.
            size: How many bins there are.
        """
        self.requests += 1
        self.rows += rows
        self.latency[bisect_left(LATENCY_EDGES_S, latency_s)] += 1
        if len(self.predictions) < size:
            self.predictions.extend([0.0] * (size - len(self.predictions)))
        share = 1 / len(bins)
        for place in bins:
            if place is not None:
                self.predictions[place] += share

    def failed_with(self, failure: Failure, rows: int, latency_s: float | None = None) -> None:
        """Count one request that the variant could not answer."""
        self.requests += 1
        self.rows += rows
        self.failures[failure] = self.failures.get(failure, 0) + 1
        if latency_s is not None:
            self.latency[bisect_left(LATENCY_EDGES_S, latency_s)] += 1

    def compare(self, share: float) -> None:
        """Count one request that both versions answered, ``share`` of its rows in different ways."""
        self.compared += 1
        self.disagreement += share

    def judged(self, loss: float, *, instead_of: float | None = None) -> None:
        """Count a truth; ``instead_of`` is the loss that an earlier truth of the same prediction gave."""
        if instead_of is None:
            self.truths += 1
        self.loss += loss - (instead_of or 0.0)

    def add(self, other: Counts) -> None:
        self.requests += other.requests
        self.rows += other.rows
        for kind, count in other.failures.items():
            self.failures[kind] = self.failures.get(kind, 0) + count
        self.latency = _added(self.latency, other.latency)
        self.predictions = _added(self.predictions, other.predictions)
        self.compared += other.compared
        self.disagreement += other.disagreement
        self.truths += other.truths
        self.loss += other.loss
        self.dropped += other.dropped
        self.tripped = self.tripped or other.tripped

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_json(self) -> str:
        return canonical_json(asdict(self))

    @staticmethod
    def from_json(text: str) -> Counts:
        return Counts(**json.loads(text))


@dataclass(frozen=True)
class StageEvidence:
    """Both variants in one stage."""

    state: LiveState
    step: int
    champion: Counts
    candidate: Counts


@dataclass(frozen=True)
class EvidenceRow:
    """The counts of one process."""

    state: LiveState
    step: int
    variant: Variant
    counts: Counts


def merged(rows: Iterable[EvidenceRow]) -> dict[tuple[LiveState, int], StageEvidence]:
    """The evidence of each stage, of all processes together; in any order it is the same."""
    found: dict[tuple[LiveState, int], StageEvidence] = {}
    for row in rows:
        key = (row.state, row.step)
        stage = found.setdefault(key, StageEvidence(row.state, row.step, Counts(), Counts()))
        (stage.champion if row.variant == "champion" else stage.candidate).add(row.counts)
    return found


def _added(some: list[Any], others: list[Any]) -> list[Any]:
    longer, shorter = (some, others) if len(some) >= len(others) else (others, some)
    return [value + (shorter[place] if place < len(shorter) else 0) for place, value in enumerate(longer)]
