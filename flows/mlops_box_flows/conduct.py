"""What every flow does around its operation: open the box, run it, report, end in the right state."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Cancelled, Failed

from mlops_box.box import Box
from mlops_box.errors import BoxError, GateError, RefusedError
from mlops_box.home import Home, home_from
from mlops_box.operations.locks import held
from mlops_box.progress import Progress
from mlops_box_flows.caller import current_caller
from mlops_box_flows.marks import marked
from mlops_box_flows.reports import publish, publish_error


class Outcome(Protocol):
    """What an operation returns."""

    def to_dict(self) -> dict[str, Any]: ...


async def conduct(
    kind: str, subject: str, home: str | None, operation: Callable[[Box], Outcome], *, lane: str | None = None
) -> dict[str, Any] | State[Any]:
    """Run one operation as the body of a flow.

    ``lane`` names what only one run of the box may do at a time; others wait for it. It is a lock that the kernel
    frees when its holder dies, so that no killed run blocks the next, and an orphan still counts.

    Returns the outcome as plain data, or the state to end in: ``Failed`` with the error's own message (named
    ``Refused`` or ``Rejected`` where a contract or a gate spoke), ``Cancelled`` when interrupted in place.
    A bug (any other exception) is raised: Prefect records its traceback.
    """
    caller = current_caller()
    try:
        with (
            Box.open(home_from(os.environ, given=Path(home) if home else None)) as box,
            marked(box.home, flow_run_id()),
            interruptible(caller.in_place),
            _in_lane(box.home, lane, caller.progress),
        ):
            outcome = operation(box)
    except BoxError as error:
        caller.error = error
        await publish_error(kind, subject, error)
        return Failed(message=_message(error), name=_state_name(error))
    except KeyboardInterrupt:
        if not caller.in_place:
            raise
        caller.interrupted = True
        return Cancelled(message="interrupted")
    caller.outcome = outcome
    facts = outcome.to_dict()
    await publish(kind, subject, facts)
    return facts


@contextlib.contextmanager
def _in_lane(home: Home, lane: str | None, progress: Progress) -> Iterator[None]:
    if lane is None:
        yield
        return
    with held(home.run / f"{lane}.lane", waiting=lambda: progress.begin(f"waiting for another {lane} run")):
        progress.end()
        yield


def flow_run_id() -> str | None:
    """The id of the flow run around this call."""
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context and context.flow_run else None


@contextlib.contextmanager
def interruptible(in_place: bool) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM stop the operation at once, although an event loop waits behind it.

    asyncio only cancels its main task on the first SIGINT, which a running operation would not notice. Under the
    orchestrator, whose runner sends SIGTERM on purpose, Prefect's own handler stays.
    """
    if not in_place or threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in previous:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def _message(error: BoxError) -> str:
    return f"{error.message} (try: {error.hint})" if error.hint else error.message


def _state_name(error: BoxError) -> str:
    if isinstance(error, RefusedError):
        return "Refused"
    if isinstance(error, GateError):
        return "Rejected"
    return "Failed"
