"""One stage of a rollout in one server process: who answers a request, and what is learnt from it.

No client ever meets the candidate's failures: what it cannot answer in time, and finitely, the champion answers.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass

from mlops_box.clock import Clock
from mlops_box.errors import BoxError, BusyError, StorageError
from mlops_box.serving.answers import Answers
from mlops_box.serving.columns import Columns
from mlops_box.serving.entity_rows import EntityRows
from mlops_box.serving.predictor import Predictor, Reply, Rows
from mlops_box.serving.rollout.assign import Assignment
from mlops_box.serving.rollout.breaker import Breaker
from mlops_box.serving.rollout.candidate import Candidate, CandidateFailed, Result
from mlops_box.serving.rollout.challenger import Challenger
from mlops_box.serving.rollout.recorder import Recorder
from mlops_box.serving.slot import Slot

log = logging.getLogger(__name__)

_TIMED_OUT = CandidateFailed("timed_out")


@dataclass(frozen=True, slots=True)
class Answered:
    """Who answered, under which variant, and what."""

    slot: Slot
    variant: str
    reply: Reply


class Contest:
    """Champion and candidate of a model. For one event loop, except where said.

    Args:
        challenger: The stage, as box.db tells it.
        candidate: ``None`` when it cannot be loaded, and ``problem`` says why.
        recorder: Counts this stage in this process.
        alarm: Called in the event loop when the circuit breaker opens.
    """

    def __init__(
        self,
        challenger: Challenger,
        candidate: Candidate | None,
        clock: Clock,
        *,
        recorder: Recorder,
        alarm: Callable[[], None],
        problem: str = "",
    ):
        self.challenger = challenger
        self.candidate = candidate
        self.recorder = recorder
        self._clock = clock
        self._alarm = alarm
        self._breaker = Breaker()
        self._assignment = Assignment(challenger.rollout_id, challenger.percent)
        self._numbers = itertools.count()
        if candidate is None:
            self._breaker.reason = f"it cannot be loaded: {problem}"
            self.recorder.tripped(self._breaker.reason)

    async def answer(
        self, predictor: Predictor, champion: Slot, rows: Rows, *, started_s: float, request_id: bytes
    ) -> Answered:
        """Answer a request that passed the champion's door.

        Raises:
            BoxError: What the predictor raises with the champion.
        """
        if self._is_for_candidate(champion, rows, request_id):
            return await self._canary(predictor, champion, rows, started_s)
        reply = await self._champion(predictor, champion, rows, started_s)
        if self.challenger.state == "shadow" and self.candidate is not None and not self._breaker.is_open:
            # Not before the reply is on its way.
            asyncio.get_running_loop().call_soon(self._copy, predictor, champion, rows, reply)
        return Answered(champion, "champion", reply)

    async def _champion(self, predictor: Predictor, champion: Slot, rows: Rows, started_s: float) -> Reply:
        try:
            reply = await predictor.predict(champion, rows, "champion", started_s)
        except (BusyError, StorageError):
            raise  # The server's trouble, not the version's.
        except BoxError:
            self.recorder.champion_failed(len(rows))
            raise
        self.recorder.champion_answered(reply.answers, self._clock.monotonic_s() - started_s)
        return reply

    async def _canary(self, predictor: Predictor, champion: Slot, rows: Rows, started_s: float) -> Answered:
        assert self.candidate is not None
        candidate = self.candidate.slot
        result = await self._ask(self.candidate, adapted(rows, champion, candidate))
        if isinstance(result, Answers):
            reply = predictor.record(candidate, rows, result, "canary", started_s)
            self._note(None)
            self.recorder.candidate_answered(result, self._clock.monotonic_s() - started_s)
            return Answered(candidate, "canary", reply)
        latency_s = self._clock.monotonic_s() - started_s
        # The champion answers: the client sees a slower answer at worst. If it cannot either, the request is at fault.
        try:
            reply = await predictor.predict(champion, rows, "champion", started_s)
        except (BusyError, StorageError):
            self._fail(result, rows, latency_s)
            raise
        except BoxError:
            self.recorder.candidate_failed(result.kind, len(rows), latency_s)
            self._note(None)
            raise
        if reply.answers.outcome == "ok":
            self._fail(result, rows, latency_s)
        else:
            self.recorder.candidate_failed(result.kind, len(rows), latency_s)
            self._note(None)
        return Answered(champion, "champion", reply)

    async def _ask(self, candidate: Candidate, rows: Rows) -> Result:
        """The candidate's answer within the declared time."""
        if candidate.is_quick(len(rows)):
            now = candidate.answer_now(rows)
            if now is not None:
                return now
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def settle(result: Result) -> None:
            if not future.done():
                future.set_result(result)

        if not candidate.submit(rows, loop, settle):
            return _TIMED_OUT
        timer = loop.call_later(self.challenger.timeout_s, settle, _TIMED_OUT)
        try:
            return await future
        finally:
            timer.cancel()

    def _copy(self, predictor: Predictor, champion: Slot, rows: Rows, reply: Reply) -> None:
        """Have the candidate answer what the champion has answered, when it comes to it."""
        assert self.candidate is not None
        candidate, copied_s = self.candidate.slot, self._clock.monotonic_s()
        loop = asyncio.get_running_loop()
        is_over = False

        def compare(result: Result) -> None:
            nonlocal is_over
            if is_over:
                return
            is_over = True
            timer.cancel()
            latency_s = self._clock.monotonic_s() - copied_s
            if isinstance(result, CandidateFailed):
                self.recorder.candidate_failed(result.kind, len(rows), latency_s)
                self._note(result.kind if reply.answers.outcome == "ok" else None)
                return
            self._note(None)
            self.recorder.candidate_answered(result, latency_s)
            if reply.answers.outcome == "ok":
                self.recorder.compared(result, reply.answers)
            try:
                predictor.record(candidate, rows, result, "shadow", copied_s, copy_of=reply.ids[0])
            except StorageError as error:
                log.warning("a shadow answer of %s was not logged: %s", candidate.ref, error.message)

        # It may have to wait for a call under way first.
        timer = loop.call_later(2 * self.challenger.timeout_s, compare, _TIMED_OUT)
        if not self.candidate.submit(adapted(rows, champion, candidate), loop, compare):
            timer.cancel()
            self.recorder.dropped()
            predictor.shadow_dropped(candidate.version.model)

    def _is_for_candidate(self, champion: Slot, rows: Rows, request_id: bytes) -> bool:
        if self.challenger.percent == 0 or self._breaker.is_open:
            return False
        key = self.challenger.key
        if key is None:
            name = request_id if request_id != b"-" else b"%d" % next(self._numbers)
        else:
            name = str(_first(rows, key, champion)).encode()
        return self._assignment.is_candidate(name)

    def _fail(self, failure: CandidateFailed, rows: Rows, latency_s: float) -> None:
        self.recorder.candidate_failed(failure.kind, len(rows), latency_s)
        self._note(failure.kind)

    def _note(self, failure: str | None) -> None:
        if self._breaker.note(failure):
            log.error(
                "%s@%d is taken out: %s", self.challenger.model, self.challenger.number, self._breaker.reason
            )
            self.recorder.tripped(str(self._breaker.reason))
            self._alarm()


def adapted(rows: Rows, champion: Slot, candidate: Slot) -> Rows:
    """The champion's rows as the candidate reads them: a matrix has the champion's features in its columns, and what was
    looked up is looked up anew where the candidate pins other definitions."""
    if isinstance(rows, EntityRows):
        door = candidate.entities
        if door is None or door.digests == rows.features.definitions:
            return rows
        return door.complete(rows.entities, rows.given)
    if not isinstance(rows, Columns) or rows.matrix is None:
        return rows
    names = champion.version.signature.numeric
    if names == candidate.version.signature.numeric and not candidate.version.signature.categorical:
        return rows
    return Columns(rows.rows, {name: rows.matrix[:, place] for place, name in enumerate(names)})


def _first(rows: Rows, column: str, champion: Slot) -> object:
    """The first row's value: a request goes to one version as a whole."""
    if isinstance(rows, EntityRows) and column not in rows[0]:
        return rows.entities[0].get(column)
    if not isinstance(rows, Columns):
        return rows[0].get(column)
    if rows.matrix is not None:
        names = champion.version.signature.numeric
        return rows.matrix[0, names.index(column)].item() if column in names else None
    values = rows.values.get(column)
    return values[0] if values is not None else None
