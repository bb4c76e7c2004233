"""The thread that writes down what a server process learnt of its rollouts, and moves them on."""

from __future__ import annotations

import contextlib
import logging
import threading

from mlops_box.box import Box
from mlops_box.errors import BoxError
from mlops_box.operations.locks import FileLock
from mlops_box.operations.rollout import advance
from mlops_box.serving.rollout.contests import Contests
from mlops_box.serving.rollout.truths import TruthFollower

log = logging.getLogger(__name__)

EVERY_S = 1.0


class RolloutKeeper:
    """Once a second, and at once when a circuit breaker opens. Every process may do it: a transition happens only once.

    Args:
        contests: Of this process.
        process: Names it in box.db.
    """

    def __init__(self, box: Box, contests: Contests, *, process: str):
        self._box = box
        self._contests = contests
        self._process = process
        # One process at a time joins the log with its ground truth.
        self._truth_lock = FileLock(box.home.run / "rollout-truth.lock")
        self._truths: TruthFollower | None = None
        self._wake = threading.Event()
        self._stop = False
        self._said: str | None = None
        self._thread = threading.Thread(target=self._run, name="rollouts", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        """Do it now; from any thread."""
        self._wake.set()

    def close(self) -> None:
        """Write the last counts down; idempotent."""
        if self._stop:
            return
        self._stop = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._truth_lock.release()

    def _run(self) -> None:
        while not self._stop:
            self._wake.wait(EVERY_S)
            self._wake.clear()
            try:
                self._contests.flush(self._box.rollouts)
                self._follow_truths()
                self._advance()
                self._said = None
            except BoxError as error:
                self._say(error.message)
            except Exception as error:
                # The thread's boundary: without it rollouts would stand still, silently.
                log.exception("rollouts are not moved on")
                self._said = repr(error)
        with contextlib.suppress(BoxError):
            self._contests.flush(self._box.rollouts)

    def _advance(self) -> None:
        for move in advance(self._box):
            if move.is_transition:
                log.info("rollout of %s: %s: %s", move.rollout.ref, move.rollout.state, move.outcome.reason)

    def _follow_truths(self) -> None:
        if self._truths is None:
            if not self._truth_lock.try_acquire():
                return
            box = self._box
            self._truths = TruthFollower(
                box.home.predictions, box.db, box.rollouts, box.clock, process=self._process
            )
        self._truths.follow()

    def _say(self, problem: str) -> None:
        """Once, not every second."""
        if self._said != problem:
            log.error("rollouts are not moved on: %s", problem)
        self._said = problem
