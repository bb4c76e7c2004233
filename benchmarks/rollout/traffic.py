"""Simulated traffic for rollouts: what a champion and a candidate would have answered, counted as a server counts it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from mlops_box.serving.rollout.breaker import Breaker
from mlops_box.serving.rollout.evidence import LATENCY_EDGES_S, Counts, StageEvidence
from mlops_box.serving.rollout.plan import LiveState, Plan
from mlops_box.serving.rollout.states import Rollout, Situation, Transition, decide
from mlops_box.serving.rollout.yardstick import Yardstick

START = datetime(2026, 1, 1, tzinfo=UTC)
EDGES = tuple(round(step / 20, 2) for step in range(1, 20))
YARDSTICK = Yardstick(edges=EDGES)


@dataclass(frozen=True)
class Behaviour:
    """One version of a binary classifier.

    Attributes:
        own_failures: Share of requests it fails, alone (the champion could answer them).
        latency: Times the usual (log-normal around 4 ms, sigma 0.4).
        disagreement: Share of shadow copies it answers otherwise than the champion.
        wrong: Share of its answers that ground truth calls wrong.
    """

    own_failures: float = 0.0
    failure: str = "raised"
    latency: float = 1.0
    constant: bool = False
    flipped: bool = False
    disagreement: float = 0.03
    wrong: float = 0.2


@dataclass(frozen=True)
class World:
    """Traffic and what the plan asks for.

    Attributes:
        rate: Requests a second.
        bad_requests: Share of requests that no version can answer.
        truth: Share of answered requests whose truth comes, ``truth_delay_s`` later.
        look_s: Seconds between two looks.
    """

    rate: float = 50.0
    bad_requests: float = 0.002
    truth: float = 0.0
    truth_delay_s: int = 60
    look_s: int = 1
    plan: Plan = field(
        default_factory=lambda: Plan(
            shadow=timedelta(minutes=2), canary=[5, 25, 50], step=timedelta(minutes=2)
        )
    )


@dataclass(frozen=True)
class Ended:
    """How a simulated rollout ended.

    Attributes:
        seen: Requests the candidate answered or failed live, in all stages.
        copies: Requests it got copies of.
        seconds: From the first stage on.
    """

    state: str
    at: str
    reason: str
    seen: int
    copies: int
    seconds: int


class Simulation:
    """One rollout from look to look, decided by the code that decides real ones."""

    def __init__(self, candidate: Behaviour, world: World, seed: int):
        self._candidate = candidate
        self._champion = Behaviour()
        self._world = world
        self._random = np.random.default_rng(seed)
        self._evidence: dict[tuple[LiveState, int], StageEvidence] = {}
        self._breakers: dict[tuple[LiveState, int], Breaker] = {}
        self._truths: dict[int, list[tuple[Counts, Behaviour, int]]] = {}

    def run(self) -> Ended:
        rollout = Rollout(
            id="r", model="m", number=2, base=1, base_since=START, project="m", state="proposed", step=0,
            revision=0, plan=self._world.plan, yardstick=YARDSTICK, reason="", proposed_at=START, started_at=None,
            stage_at=START, paused_at=None, ended_at=None,
        )  # fmt: skip
        second, stage = 0, "proposed"
        while rollout.is_open:
            now = START + timedelta(seconds=second)
            stage = str(rollout.stage or rollout.state)
            outcome = decide(rollout, Situation(now, 1, START, evidence=self._evidence))
            if isinstance(outcome, Transition):
                rollout = replace(
                    rollout, state=outcome.state, step=outcome.step, reason=outcome.reason, stage_at=now,
                    started_at=rollout.started_at or now,
                )  # fmt: skip
            if rollout.stage is not None:
                self._traffic(rollout, second)
            second += self._world.look_s
        live = [item.candidate for item in self._evidence.values() if item.state == "canary"]
        shadow = [item.candidate for item in self._evidence.values() if item.state == "shadow"]
        return Ended(
            rollout.state,
            stage,
            rollout.reason,
            sum(item.requests for item in live),
            sum(item.requests for item in shadow),
            second,
        )

    def _traffic(self, rollout: Rollout, second: int) -> None:
        stage = rollout.stage
        assert stage is not None
        key = (stage.state, stage.step)
        found = self._evidence.setdefault(key, StageEvidence(*key, Counts(), Counts()))
        breaker = self._breakers.setdefault(key, Breaker())
        for counts, behaviour, answered in self._truths.pop(second // self._world.look_s, []):
            wrong = int(self._random.binomial(answered, behaviour.wrong))
            counts.truths += answered
            counts.loss += wrong
        total = int(self._random.poisson(self._world.rate * self._world.look_s))
        mine = int(self._random.binomial(total, stage.percent / 100)) if stage.percent else total
        self._answer(found.champion, self._champion, total if not stage.percent else total - mine, second)
        answered = self._answer(found.candidate, self._candidate, mine, second, breaker)
        if stage.state == "shadow":
            found.candidate.compared += answered
            found.candidate.disagreement += int(self._random.binomial(answered, self._candidate.disagreement))

    def _answer(
        self, counts: Counts, behaviour: Behaviour, requests: int, second: int, breaker: Breaker | None = None
    ) -> int:
        """Count so many requests; returns how many got an answer."""
        if breaker is not None and behaviour.own_failures:
            requests = self._until_open(counts, behaviour, requests, breaker)
        bad = int(self._random.binomial(requests, self._world.bad_requests))
        own = 0
        if breaker is None and behaviour.own_failures:
            own = int(self._random.binomial(requests - bad, behaviour.own_failures))
        answered = requests - bad - own
        counts.requests += requests
        counts.rows += requests
        if bad:
            counts.failures["raised"] = counts.failures.get("raised", 0) + bad
        latencies = self._random.lognormal(np.log(0.004 * behaviour.latency), 0.4, answered)
        places = np.searchsorted(LATENCY_EDGES_S, latencies)
        counts.latency = (np.bincount(places, minlength=len(LATENCY_EDGES_S) + 1) + counts.latency).tolist()
        shares = np.histogram(self._predictions(behaviour, answered), bins=(-1.0, *EDGES, 2.0))[0]
        counts.predictions = (shares + (counts.predictions or [0.0] * len(shares))).tolist()
        told = int(self._random.binomial(answered, self._world.truth)) if self._world.truth else 0
        if told:
            due = (second + self._world.truth_delay_s) // self._world.look_s
            self._truths.setdefault(due, []).append((counts, behaviour, told))
        return answered

    def _until_open(self, counts: Counts, behaviour: Behaviour, requests: int, breaker: Breaker) -> int:
        """Ask the candidate one by one; returns the requests it could answer, or that nobody could."""
        fine = 0
        for failing in self._random.random(requests) < behaviour.own_failures:
            if breaker.is_open:
                break
            if not failing:
                fine += 1
            else:
                counts.failed_with(behaviour.failure, 1)  # type: ignore[arg-type]
            if breaker.note(behaviour.failure if failing else None):
                counts.tripped = str(breaker.reason)
        return fine

    def _predictions(self, behaviour: Behaviour, answered: int) -> np.ndarray:
        if behaviour.constant:
            return np.full(answered, 0.4)
        found = self._random.beta(2, 3, answered)
        return 1 - found if behaviour.flipped else found
