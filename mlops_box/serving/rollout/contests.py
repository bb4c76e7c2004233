"""All contests of one server process: which are under way, and what they have counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from mlops_box.clock import Clock
from mlops_box.errors import BoxError
from mlops_box.serving.rollout.candidate import Candidate
from mlops_box.serving.rollout.challenger import Challenger
from mlops_box.serving.rollout.contest import Contest
from mlops_box.serving.rollout.plan import LiveState
from mlops_box.serving.rollout.recorder import Recorder
from mlops_box.serving.rollout.store import RolloutStore
from mlops_box.serving.slot import Slot

StageKey = tuple[str, LiveState, int]
_KEPT = 32


class Contests:
    """Made beside what serves, put in place by one assignment, flushed by another thread.

    Args:
        process: Names this process in box.db.
        alarm: Called, in the event loop, when a candidate has to go at once.
    """

    def __init__(self, clock: Clock, *, process: str, alarm: Callable[[], None]):
        self._clock = clock
        self._process = process
        self._alarm = alarm
        self._lock = threading.Lock()
        self._contests: dict[str, Contest] = {}
        self._known: dict[StageKey, Contest] = {}
        # Kept beyond their contests: requests under way still count, and a stage that comes back goes on counting.
        self._recorders: dict[StageKey, Recorder] = {}

    def of(self, model: str) -> Contest | None:
        """The contest that a model's requests take part in; ``None`` for nearly all models, at the cost of a look-up."""
        return self._contests.get(model)

    def prepare(self, challenger: Challenger, slot: Slot | None, problem: str = "") -> Contest:
        """A contest that could begin; the one under way where it is the same stage.

        Args:
            slot: The candidate, loaded; ``None`` when it cannot be, and ``problem`` says why.
        """
        key = (challenger.rollout_id, challenger.state, challenger.step)
        with self._lock:
            known = self._known.get(key)
            if known is not None and (known.candidate is None or known.candidate.slot is slot):
                return known
            candidate = self._candidate(slot) if slot is not None else None
            recorder = self._recorder(key, challenger)
            made = Contest(
                challenger, candidate, self._clock, recorder=recorder, alarm=self._alarm, problem=problem
            )
            self._known[key] = made
            return made

    def put(self, contests: Mapping[str, Contest]) -> None:
        """From now on these are under way, and no others: one assignment, so the event loop may do it."""
        self._contests = dict(contests)

    def settle(self) -> None:
        """After :meth:`put`: let go of what has ended; its counts are still flushed."""
        with self._lock:
            current = set(self._contests.values())
            staying = {contest.candidate for contest in current}
            for key, contest in list(self._known.items()):
                if contest not in current:
                    if contest.candidate is not None and contest.candidate not in staying:
                        contest.candidate.close()
                    del self._known[key]

    def flush(self, store: RolloutStore) -> None:
        """Write what is new to box.db.

        Raises:
            BoxError: It cannot be written now; it is written next time.
        """
        with self._lock:
            recorders = list(self._recorders.values())
        for recorder in recorders:
            rows = recorder.take()
            if not rows:
                continue
            try:
                store.put_evidence(recorder.rollout_id, self._process, rows)
            except BoxError:
                recorder.give_back()
                raise

    def close(self) -> None:
        """End all candidates' threads."""
        self.put({})
        self.settle()

    def _recorder(self, key: StageKey, challenger: Challenger) -> Recorder:
        found = self._recorders.get(key)
        if found is None:
            found = self._recorders[key] = Recorder(*key, challenger.yardstick)
            for old in [item for item in self._recorders if item not in self._known][:-_KEPT]:
                del self._recorders[old]
        return found

    def _candidate(self, slot: Slot) -> Candidate:
        for contest in self._known.values():
            if contest.candidate is not None and contest.candidate.slot is slot:
                return contest.candidate
        return Candidate(slot)
