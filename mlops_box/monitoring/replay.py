"""Replay what was seen under a policy: when it would have acted, pure and without a box.

The history is what it was: a model that the replayed policy would have trained does not change what was seen
afterwards. So the replay answers "when would it have fired, on this evidence", not "what would the world be now"; after
its first firing that differs from history it errs on the side of firing again.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from mlops_box.clock import isoformat, parse_time
from mlops_box.monitoring.policy import DecisionDraft, History, Trigger, decide
from mlops_box.project import Retrain
from mlops_box.project.retrain import TriggerName
from mlops_box.units import format_duration


@dataclass(frozen=True)
class Evidence:
    """One look at the world.

    Attributes:
        at: When it could be known.
        drift, quality: What the newest window said.
        new_rows: Rows at the source by then, or ``None`` where nobody counted.
        key: Names the window.
    """

    at: datetime
    key: str
    drift: Literal["drift", "fine", "cannot_tell"] | None = None
    quality: Literal["loss", "fine", "cannot_tell"] | None = None
    new_rows: int | None = None
    text: str = ""


@dataclass(frozen=True)
class Firing:
    """A retraining that the policy would have started, or suggested."""

    at: datetime
    trigger: TriggerName
    state: Literal["pending", "suggested"]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "at": isoformat(self.at),
            "trigger": self.trigger,
            "state": self.state,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Episode:
    """Windows with a loss of quality, one after another; what a good policy catches.

    Attributes:
        caught_at: The first firing from its beginning on, and before it ended.
    """

    starts_at: datetime
    ends_at: datetime
    windows: int
    caught_at: datetime | None

    @property
    def delay(self) -> timedelta | None:
        return self.caught_at - self.starts_at if self.caught_at is not None else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "starts_at": isoformat(self.starts_at), "ends_at": isoformat(self.ends_at), "windows": self.windows,
            "caught_at": isoformat(self.caught_at) if self.caught_at else None,
            "delay_s": self.delay.total_seconds() if self.delay is not None else None,
        }  # fmt: skip


@dataclass(frozen=True)
class Replay:
    """What a policy would have done.

    Attributes:
        withheld: How often it looked and did nothing, by reason.
        training_s: What the firings would have cost, at ``training_s`` each.
    """

    firings: tuple[Firing, ...]
    withheld: dict[str, int]
    episodes: tuple[Episode, ...]
    training_s: float

    @property
    def caught(self) -> int:
        return sum(episode.caught_at is not None for episode in self.episodes)

    @property
    def needless(self) -> int:
        """Firings outside every episode."""
        return sum(
            not any(episode.starts_at <= firing.at <= episode.ends_at for episode in self.episodes)
            for firing in self.firings
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "firings": [firing.to_dict() for firing in self.firings],
            "withheld": self.withheld,
            "episodes": [episode.to_dict() for episode in self.episodes],
            "caught": self.caught,
            "needless": self.needless,
            "training_s": self.training_s,
        }


@dataclass
class _State:
    """The history as the replayed policy would have made it."""

    champion_since: datetime
    rows_at_champion: int
    issued: list[datetime] = field(default_factory=list)
    busy_until: datetime | None = None
    decided: set[str] = field(default_factory=set)

    def history(self, now: datetime) -> History:
        busy = self.busy_until is not None and now < self.busy_until
        return History(tuple(sorted(self.issued, reverse=True)), under_way="replayed" if busy else None)


def replay(
    policy: Retrain,
    evidence: Sequence[Evidence],
    *,
    since: datetime,
    rows: int,
    training_s: float,
    model: str = "model",
) -> Replay:
    """Walk through the evidence in the order in which it could be known.

    A suggestion is taken to be accepted at once; a training to end well after ``training_s``.

    Args:
        policy: What to replay.
        evidence: What was seen.
        since: When the champion at the beginning was made; ages count from there.
        rows: Rows of its snapshot.
        training_s: Seconds a training takes.
    """
    state = _State(since, rows)
    firings: list[Firing] = []
    withheld: Counter[str] = Counter()
    ordered = sorted(evidence, key=lambda item: item.at)
    agenda = _Agenda(policy, ordered)
    while (look := agenda.next()) is not None:
        at, item, again = look
        for trigger in [again] if again is not None else _triggers(policy, item, state, model):
            if trigger.idempotency_key in state.decided or (again and agenda.is_outdated(again, item)):
                continue
            draft = decide(policy, trigger, state.history(at), at)
            if draft.state == "withheld":
                withheld[_short(draft)] += 1
                agenda.look_again(draft, item)
                continue
            firings.append(Firing(at, trigger.name, draft.state, draft.reason))
            _issue(state, trigger, at, item, training_s)
    return Replay(
        tuple(firings), dict(withheld), tuple(_episodes(ordered, firings)), training_s * len(firings)
    )


class _Agenda:
    """Looks in the order of time: at evidence, at the calendar, and again at what was put off until a known time."""

    def __init__(self, policy: Retrain, ordered: Sequence[Evidence]):
        self._order = itertools.count()
        self._end = ordered[-1].at if ordered else None
        self._newest: dict[str, str] = {}
        self._heap: list[tuple[datetime, int, Evidence, Trigger | None]] = []
        for item in (*ordered, *_calendar(policy, ordered)):
            self._push(item.at, item, None)

    def next(self) -> tuple[datetime, Evidence, Trigger | None] | None:
        if not self._heap:
            return None
        at, _, item, again = heapq.heappop(self._heap)
        for name, outcome in (("drift", item.drift), ("quality", item.quality)):
            if again is None and outcome in ("drift", "loss", "fine"):
                self._newest[name] = item.key
        return at, item, again

    def look_again(self, draft: DecisionDraft, item: Evidence) -> None:
        """As the monitor does: the same evidence is judged anew once what withheld it is over."""
        times = [parse_time(value) for key, value in draft.facts.items() if key.endswith("_until")]
        if times and self._end is not None and max(times) <= self._end:
            self._push(max(times), item, draft.trigger)

    def is_outdated(self, trigger: Trigger, item: Evidence) -> bool:
        """Whether a newer window has spoken since."""
        return trigger.name in ("drift", "quality") and self._newest.get(trigger.name) != item.key

    def _push(self, at: datetime, item: Evidence, again: Trigger | None) -> None:
        heapq.heappush(self._heap, (at, next(self._order), item, again))


def _issue(state: _State, trigger: Trigger, at: datetime, item: Evidence, training_s: float) -> None:
    state.decided.add(trigger.idempotency_key)
    state.issued.append(at)
    state.busy_until = at + timedelta(seconds=training_s)
    state.champion_since = state.busy_until
    if item.new_rows is not None:
        state.rows_at_champion = item.new_rows


def _triggers(policy: Retrain, item: Evidence, state: _State, model: str) -> Iterator[Trigger]:
    if item.quality == "loss":
        yield Trigger("quality", model, model, item.key, item.text or "a loss of quality")
    if item.drift == "drift":
        yield Trigger("drift", model, model, item.key, item.text or "drift")
    if policy.rows is not None and item.new_rows is not None and item.new_rows > state.rows_at_champion:
        new = item.new_rows - state.rows_at_champion
        yield Trigger("rows", model, model, f"rows{item.new_rows}", f"{new} new rows", amount=new)
    age = item.at - state.champion_since
    if policy.age is not None and age >= policy.age:
        key = f"age{isoformat(state.champion_since)}:{age // policy.age}"
        text = f"the champion is {format_duration(age.total_seconds())} old"
        yield Trigger("age", model, model, key, text, amount=age.total_seconds())
    if item.key.startswith("tick:"):
        yield Trigger("schedule", model, model, item.key, f"it was due at {isoformat(item.at)}")


def _calendar(policy: Retrain, ordered: Sequence[Evidence]) -> Iterator[Evidence]:
    """The times of the calendar between the first evidence and the last."""
    if ordered:
        for cron in policy.crons:
            for at in _ticks(cron, ordered[0].at, ordered[-1].at):
                yield Evidence(at, f"tick:{isoformat(at)}")


def _ticks(cron: str, start: datetime, end: datetime) -> Iterator[datetime]:
    from cronsim import CronSim

    for at in CronSim(cron, start):
        if at > end:
            return
        yield at


def _episodes(ordered: Sequence[Evidence], firings: Sequence[Firing]) -> Iterator[Episode]:
    """Runs of windows with a loss; windows without ground truth neither begin nor end one."""
    begin: datetime | None = None
    last: datetime | None = None
    windows = 0
    for item in ordered:
        if item.quality == "loss":
            begin, last, windows = begin or item.at, item.at, windows + 1
        elif item.quality == "fine" and begin is not None:
            yield _episode(begin, item.at, windows, firings)
            begin, last, windows = None, None, 0
    if begin is not None and last is not None:
        yield _episode(begin, last, windows, firings)


def _episode(begin: datetime, end: datetime, windows: int, firings: Sequence[Firing]) -> Episode:
    caught = min((firing.at for firing in firings if begin <= firing.at <= end), default=None)
    return Episode(begin, end, windows, caught)


def _short(draft: DecisionDraft) -> str:
    """The kind of a reason, without its numbers, so that it can be counted."""
    for name, text in (
        ("cooldown", "cooldown is"), ("budget", "the budget of"), ("quiet hours", "quiet hours"),
        ("under way", "under way"), ("off", "mode is off"), ("not declared", "is not in [retrain] on"),
    ):  # fmt: skip
        if text in draft.reason:
            return name
    return f"too little: {draft.trigger.name}"
