"""What one server process counts of one stage, and hands over to box.db about once a second."""

from __future__ import annotations

import threading

from mlops_box.serving.answers import Answers
from mlops_box.serving.rollout.evidence import Counts, EvidenceRow, Failure
from mlops_box.serving.rollout.plan import LiveState
from mlops_box.serving.rollout.yardstick import Yardstick


class Recorder:
    """Counts both variants of one stage; thread-safe.

    Attributes:
        rollout_id, state, step: Which stage.
    """

    def __init__(self, rollout_id: str, state: LiveState, step: int, yardstick: Yardstick):
        self.rollout_id = rollout_id
        self.state: LiveState = state
        self.step = step
        self._yardstick = yardstick
        self._champion = Counts()
        self._candidate = Counts()
        self._lock = threading.Lock()
        self._changed = False

    def champion_answered(self, answers: Answers, latency_s: float) -> None:
        """A request that the champion answered, as in its own share."""
        with self._lock:
            self._count(self._champion, answers, latency_s)

    def champion_failed(self, rows: int) -> None:
        with self._lock:
            self._champion.failed_with("raised", rows)
            self._changed = True

    def candidate_answered(self, answers: Answers, latency_s: float) -> None:
        """A request that the candidate answered, live or for a copy."""
        with self._lock:
            self._count(self._candidate, answers, latency_s)

    def candidate_failed(self, failure: Failure, rows: int, latency_s: float | None = None) -> None:
        with self._lock:
            self._candidate.failed_with(failure, rows, latency_s)
            self._changed = True

    def compared(self, candidate: Answers, champion: Answers) -> None:
        """Both answered the same rows."""
        pairs = zip(_told(candidate), _told(champion), strict=True)
        different = [self._yardstick.disagree(*mine, *theirs) for mine, theirs in pairs]
        with self._lock:
            self._candidate.compare(sum(different) / len(different))
            self._changed = True

    def dropped(self) -> None:
        """A copy that there was no time for."""
        with self._lock:
            self._candidate.dropped += 1
            self._changed = True

    def tripped(self, reason: str) -> None:
        """The circuit breaker opened."""
        with self._lock:
            self._candidate.tripped = reason
            self._changed = True

    def take(self) -> list[EvidenceRow]:
        """All counts so far, if there are new ones since the last call; else nothing."""
        with self._lock:
            if not self._changed:
                return []
            self._changed = False
            return [
                EvidenceRow(self.state, self.step, "champion", Counts.from_json(self._champion.to_json())),
                EvidenceRow(self.state, self.step, "candidate", Counts.from_json(self._candidate.to_json())),
            ]

    def give_back(self) -> None:
        """What :meth:`take` gave could not be written: give it again."""
        with self._lock:
            self._changed = True

    def _count(self, counts: Counts, answers: Answers, latency_s: float) -> None:
        self._changed = True
        rows = len(answers.predictions)
        if answers.outcome != "ok":
            counts.failed_with("not_finite", rows, latency_s)
            return
        bins = [self._yardstick.bin_of(number, label) for number, label in _told(answers)]
        counts.answered(rows, latency_s, bins, self._yardstick.bins)


def _told(answers: Answers) -> list[tuple[float | None, str | None]]:
    """(number, label) of each row."""
    nothing: list[None] = [None] * len(answers.predictions)
    return list(zip(answers.numbers or nothing, answers.labels or nothing, strict=True))
