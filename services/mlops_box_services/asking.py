"""From a model's name and a request's rows to the logged reply: the one way of all protocols."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from mlops_box.errors import BoxError, NotFoundError, UsageError
from mlops_box.ids import ModelRef, parse_ref
from mlops_box.serving.entity_rows import EntityRows
from mlops_box.serving.predictor import Reply, Rows
from mlops_box.serving.slot import Slot
from mlops_box_services.runtime import Runtime


class Call(Protocol):
    """A request of any protocol, which remembers how far it came.

    Attributes:
        started_s: When it arrived, by the clock's monotonic counter.
        request_id: The client's, or one made here; ``-`` before there is one.
        slot, variant, reply: Set as they become known, for whoever observes requests.
    """

    runtime: Runtime
    started_s: float
    request_id: bytes
    slot: Slot | None
    variant: str | None
    reply: Reply | None


async def ask(call: Call, name: str, rows_for: Callable[[Slot], Rows]) -> tuple[Slot, Reply]:
    """Ask the champion of ``name``, or the version that ``name@7`` names.

    Args:
        rows_for: Gives the request's rows, past the slot's door.

    Raises:
        NotFoundError: No such model or version.
        BoxError: What ``rows_for``, the router and the predictor raise; it was counted.
    """
    runtime = call.runtime
    slot = runtime.router.champion(name)
    variant = "champion"
    if slot is None:
        slot = await slot_of(runtime, name)
        variant = "direct"
    call.slot, call.variant = slot, variant
    try:
        rows = rows_for(slot)
        contest = runtime.contests.of(name)
        if contest is not None and contest.challenger.base == slot.version.number:
            answered = await contest.answer(
                runtime.predictor, slot, rows, started_s=call.started_s, request_id=call.request_id
            )
            call.slot, call.variant, call.reply = answered.slot, answered.variant, answered.reply
            return answered.slot, answered.reply
        reply = call.reply = await runtime.predictor.predict(slot, rows, variant, call.started_s)
    except BoxError as error:
        runtime.metrics.failed(slot.version.model, str(slot.version.number), error.code, variant)
        raise
    return slot, reply


def looked_up(slot: Slot, reply: Reply) -> list[dict[str, Any]] | None:
    """What was looked up for the rows of an answer; ``None`` where nothing was."""
    if slot.entities is None or not isinstance(reply.rows, EntityRows):
        return None
    return slot.entities.explain(reply.rows)


async def slot_of(runtime: Runtime, name: str) -> Slot:
    """The slot of ``name@7``, loaded in a thread when it is not in memory."""
    ref = _reference(name)
    slot = runtime.router.loaded(ref)
    if slot is None:
        slot = await asyncio.get_running_loop().run_in_executor(None, runtime.router.load, ref)
    return slot


def _reference(name: str) -> ModelRef:
    try:
        return parse_ref(name)
    except UsageError as error:
        raise NotFoundError(error.message, hint=error.hint) from None
