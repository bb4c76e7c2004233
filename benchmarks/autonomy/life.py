"""A box's life in one world: the real detector, quality judge, policy and rollout, with a clock that is only a number.

What is simulated is the world, the training (a straight line) and the requests. What decides is the code that ships:
``DriftDetector``, ``assess_quality``, ``policy.decide``, the champion gate's rule, ``states.decide`` over real counts, the
circuit breaker.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from benchmarks.autonomy.candidate import POISONS, Array, Model, mae, train
from benchmarks.autonomy.watch import Watch
from benchmarks.autonomy.world import HISTORY_DAYS, LIFE_DAYS, REQUESTS_A_DAY, START, Day, World
from mlops_box.models.values import Signature
from mlops_box.monitoring.policy import History, Trigger, decide
from mlops_box.project import Retrain
from mlops_box.project.serve import Rollout as Plan
from mlops_box.project.serve import RolloutLimits
from mlops_box.serving.rollout.assign import Assignment
from mlops_box.serving.rollout.breaker import Breaker
from mlops_box.serving.rollout.evidence import Counts, StageEvidence
from mlops_box.serving.rollout.plan import Stage
from mlops_box.serving.rollout.states import Hold, Rollout, Situation
from mlops_box.serving.rollout.states import decide as decide_rollout
from mlops_box.serving.rollout.yardstick import Yardstick, yardstick_for

FEWEST_DAYS = 3
WINDOW_DAYS = 84  # what a retraining learns from
POLICY = Retrain(mode="auto", on=["drift", "quality"], cooldown=timedelta(days=3), budget="2/week")
PLAN = Plan(
    shadow=timedelta(hours=6), canary=[20, 50], step=timedelta(hours=6), min_requests=60, limits=RolloutLimits(errors=0.05),
    max_duration=timedelta(days=14), cooldown=timedelta(days=1),
)  # fmt: skip
LIFE = timedelta(days=LIFE_DAYS)
LOOKS_A_DAY = 8
_HARM = 1.05
_SIGNATURE = Signature("regression", "y", ())


@dataclass
class Outcome:
    """What came of one life.

    Attributes:
        retrained_on: Days on which a retraining was started.
        false_retrains: Those for which the world gave no reason.
        detected_after: Days from the onset to the first retraining after it; ``None`` where none came.
        promotions: Champions made after the first one.
        harmful: Promotions of a model that was worse than its predecessor on fresh rows of that day by more than 5 %.
        stopped: Candidates that a rollout rejected or rolled back.
        answered_wrongly: Live answers by a poisoned candidate.
        end_ratio: Error of the last champion over that of the first, on the last day.
    """

    retrained_on: list[int] = field(default_factory=list)
    false_retrains: int = 0
    detected_after: int | None = None
    promotions: int = 0
    harmful: int = 0
    stopped: int = 0
    poisoned: int = 0
    answered_wrongly: int = 0
    end_ratio: float = 1.0
    reasons: list[str] = field(default_factory=list)


@dataclass
class _Way:
    """A candidate on its way, with what is counted of both variants."""

    rollout: Rollout
    model: Model
    counts: dict[tuple[str, int], StageEvidence] = field(default_factory=dict)
    breaker: Breaker = field(default_factory=Breaker)
    unknown: list[tuple[int, Counts, float]] = field(default_factory=list)

    def stage(self) -> StageEvidence:
        key = (self.rollout.state, self.rollout.step)
        if key not in self.counts:
            self.counts[key] = StageEvidence(self.rollout.state, self.rollout.step, Counts(), Counts())  # type: ignore[arg-type]
        return self.counts[key]


class Life:
    """One box in one world."""

    def __init__(self, world: World):
        self.world = world
        self.outcome = Outcome()
        self._draw = np.random.default_rng([world._seed, 9])
        self._days = [world.day(number) for number in range(HISTORY_DAYS)]
        self.champion = self._trained(HISTORY_DAYS - 1)
        self._first = self.champion
        self._watch = Watch(self.champion)
        self._issued: list[datetime] = []
        self._way: _Way | None = None
        self._failed_at: datetime | None = None
        self._number = 1

    def live(self) -> Outcome:
        """All days; the outcome."""
        for number in range(HISTORY_DAYS, HISTORY_DAYS + LIFE_DAYS):
            self._live_one(number)
        last = HISTORY_DAYS + LIFE_DAYS - 1
        self.outcome.end_ratio = self._worth(self.champion, last) / self._worth(self._first, last)
        return self.outcome

    def _live_one(self, number: int) -> None:
        day = self.world.day(number)
        self._days.append(day)
        self._serve(day)
        known = [item for item in self._days if item.known_on <= number and item.number >= HISTORY_DAYS]
        for seen in self._watch.look(day, known[-1] if known else None, self.champion):
            trigger = Trigger(
                seen.name,
                "m",
                "p",
                str(number),
                seen.text,
                since=self.world.at(seen.since),
                broken=seen.broken,
            )
            now = self.world.at(number + 1)
            history = History(
                tuple(sorted(self._issued, reverse=True)),
                under_way="rollout" if self._way is not None else None,
            )
            if decide(POLICY, trigger, history, now).state == "pending":
                self._retrain(number, now, trigger, seen.since)
        if self.world.kind == "poisoned" and number == self.world.onset and self._way is None:
            self._propose(self._poisoned(number), number)

    def _retrain(self, number: int, now: datetime, trigger: Trigger, since: int) -> None:
        self._issued.append(now)
        self.outcome.retrained_on.append(number)
        self.outcome.reasons.append(f"day {number}: {trigger.name}: {trigger.text}")
        reason = self.world.drifts and number >= self.world.onset
        if not reason:
            self.outcome.false_retrains += 1
        elif self.outcome.detected_after is None:
            self.outcome.detected_after = number - self.world.onset
        candidate = self._trained(number, since)
        if self._passes_gates(candidate, number, since):
            self._propose(candidate, number)

    def _trained(self, number: int, since: int = 0) -> Model:
        table, truth = self._labelled(number, since)
        return train(table, truth, day=number)

    def _poisoned(self, number: int) -> Model:
        poison = POISONS[int(self._draw.integers(len(POISONS)))]
        self.outcome.poisoned += 1
        table, truth = self._labelled(number)
        return train(table, truth, day=number, poison=poison)

    def _labelled(self, number: int, since: int = 0) -> tuple[pa.Table, Array]:
        """The days since what was seen began, whose truth is known; the newest twelve weeks where these are too few."""
        days = [item for item in self._days if item.known_on <= number][-WINDOW_DAYS:]
        recent = [item for item in days if item.number >= since]
        days = recent if len(recent) >= FEWEST_DAYS else days
        return pa.concat_tables([item.features for item in days]), np.concatenate(
            [item.truth for item in days]
        )

    def _passes_gates(self, candidate: Model, number: int, since: int) -> bool:
        """The champion gate: not worse on the candidate's held-out rows."""
        table, truth = self._labelled(number, since)
        cut = len(truth) * 4 // 5
        return candidate.held_out_mae <= mae(self.champion.answer(table.slice(cut)), truth[cut:])

    def _propose(self, candidate: Model, number: int) -> None:
        self._number += 1
        now = self.world.at(number + 1)
        sample = self.champion.answer(self._days[-1].features).tolist()
        usual = yardstick_for(_SIGNATURE, sample, error=self.champion.held_out_mae)
        yardstick: Yardstick = replace(usual, truth_expected=True)
        self._way = _Way(
            Rollout(
                id=f"r{self._number}", model="m", number=self._number, base=0, base_since=START, project="p", state="proposed", step=0,
                revision=0, plan=PLAN, yardstick=yardstick, reason="proposed", proposed_at=now, started_at=None,
                stage_at=now, paused_at=None, ended_at=None,
            ),
            candidate,
        )  # fmt: skip

    def _serve(self, day: Day) -> None:
        """The day's requests one after another; the rollout is looked at every three hours."""
        self._tell(day.number)
        if self._way is None:
            return
        per_look = REQUESTS_A_DAY // LOOKS_A_DAY
        champion = self.champion.answer(day.features)
        candidate = _tried(self._way.model, day.features)
        slow, fast = (self._way.model.latency_s(self._draw, len(champion)), self.champion.latency_s(self._draw, len(champion)))  # fmt: skip
        for look in range(LOOKS_A_DAY):
            if self._way is None:
                return
            self._tick(self.world.at(day.number) + timedelta(days=look / LOOKS_A_DAY), day.number)
            stage = self._way.rollout.stage if self._way is not None else None
            if stage is not None:
                share = Assignment(self._way.rollout.id, stage.percent)
                for place in range(look * per_look, (look + 1) * per_look):
                    self._request(day, place, stage, share, (champion, candidate), (fast, slow))

    def _request(
        self,
        day: Day,
        place: int,
        stage: Stage,
        share: Assignment,
        answers: tuple[Array, Array],
        times: tuple[Array, Array],
    ) -> None:
        """One request. ``answers`` and ``times``: of the champion and of the candidate."""
        way = self._way
        assert way is not None
        evidence, yard = way.stage(), way.rollout.yardstick
        (champion, candidate), (fast, slow) = answers, times
        failure = None if np.isfinite(candidate[place]) else self._failure(way.model)
        mine = stage.state == "canary" and share.is_candidate(b"%d-%d" % (day.number, place))
        theirs = float(champion[place])
        if stage.state == "shadow" or mine:
            if way.breaker.is_open:
                return
            if failure is not None:
                evidence.candidate.failed_with(failure, 1, float(slow[place]))  # type: ignore[arg-type]
                if way.breaker.note(failure):
                    evidence.candidate.tripped = str(way.breaker.reason)
            else:
                own = float(candidate[place])
                way.breaker.note(None)
                evidence.candidate.answered(1, float(slow[place]), [yard.bin_of(own, None)], yard.bins)
                if stage.state == "shadow":
                    evidence.candidate.compare(float(yard.disagree(own, None, theirs, None)))
                elif way.model.poison in ("constant", "flipped", "scaled"):
                    self.outcome.answered_wrongly += 1
                self._judge(evidence.candidate, yard, own, day, place)
        if not mine or failure is not None:
            evidence.champion.answered(1, float(fast[place]), [yard.bin_of(theirs, None)], yard.bins)
            self._judge(evidence.champion, yard, theirs, day, place)

    def _judge(self, counts: Counts, yard: Yardstick, answer: float, day: Day, place: int) -> None:
        """Note how wrong an answer was, to be counted on the day on which the truth is known."""
        loss = yard.loss(answer, None, "", float(day.truth[place]))
        if loss is not None and self._way is not None:
            self._way.unknown.append((day.known_on, counts, loss))

    def _tell(self, number: int) -> None:
        """Count the truths that are known by now."""
        way = self._way
        if way is not None:
            for known_on, counts, loss in way.unknown:
                if known_on <= number:
                    counts.judged(loss)
            way.unknown = [item for item in way.unknown if item[0] > number]

    def _failure(self, model: Model) -> str:
        return "raised" if model.poison == "raises" else "not_finite"

    def _tick(self, now: datetime, number: int) -> None:
        way = self._way
        assert way is not None
        cools = self._failed_at + PLAN.cooldown if self._failed_at else None
        found = decide_rollout(
            way.rollout,
            Situation(now=now, champion=0, champion_since=START, cools_until=cools, evidence=way.counts),  # type: ignore[arg-type]
        )
        if isinstance(found, Hold):
            return
        over = found.state in ("champion", "rejected", "rolled_back")
        way.rollout = replace(
            way.rollout, state=found.state, step=found.step, reason=found.reason, stage_at=now,
            started_at=way.rollout.started_at or now, ended_at=now if over else None,
        )  # fmt: skip
        way.breaker = Breaker()
        if not over:
            return
        self._way = None
        if found.state == "champion":
            self._promote(way.model, number)
        else:
            self.outcome.stopped += 1
            self._failed_at = now
            self.outcome.reasons.append(f"day {number}: stopped: {found.reason}")

    def _promote(self, model: Model, number: int) -> None:
        self.outcome.promotions += 1
        before = self._worth(self.champion, number)
        after = self._worth(model, number)
        if model.poison is not None or after > _HARM * before:
            self.outcome.harmful += 1
            self.outcome.reasons.append(
                f"day {number}: harmful: {before:.3f} -> {after:.3f} {model.poison or ''}"
            )
        self.champion = model
        self._watch = Watch(model)

    def _worth(self, model: Model, number: int) -> float:
        """Error on fresh rows of a day; a candidate that gives no number is worth nothing."""
        table, truth = self.world.sample(number, 2000, seed=1)
        answers = _tried(model, table)
        if answers is None or not np.isfinite(answers).all():
            return float("inf")
        return mae(answers, truth)


def _tried(model: Model, table: pa.Table) -> Array:
    """What it answers; NaN where it raises."""
    try:
        return model.answer(table)
    except RuntimeError:
        return np.full(table.num_rows, np.nan)
