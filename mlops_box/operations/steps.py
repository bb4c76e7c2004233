"""How an operation runs its steps: directly, or wrapped by a face (a Prefect task), always recorded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from mlops_box.box import Box
from mlops_box.errors import BoxError, BusyError, GateError, RefusedError
from mlops_box.progress import Progress, SilentProgress
from mlops_box.run_log import RunLog
from mlops_box.runs import Run, RunKind, RunState

T = TypeVar("T")


class Steps(Protocol):
    """Runs one named step of an operation and returns what the function returns.

    ``retries`` says how often a step that failed for a passing reason may be tried again; only steps that are
    idempotent ask for it. A face may wrap the function, and may not pickle its arguments or its result.
    """

    def run(
        self, name: str, function: Callable[..., T], /, *args: Any, retries: int = 0, **kwargs: Any
    ) -> T: ...


class DirectSteps:
    """Call the function, in this process, now."""

    def run(self, name: str, function: Callable[..., T], /, *args: Any, retries: int = 0, **kwargs: Any) -> T:
        for _ in range(retries):
            try:
                return function(*args, **kwargs)
            except OSError:
                continue
        return function(*args, **kwargs)


class RecordedSteps:
    """Steps that also stand in box.db, in the run's log and on the progress display."""

    def __init__(self, box: Box, run_id: str, inner: Steps, progress: Progress, log: RunLog):
        self._box = box
        self._run_id = run_id
        self._inner = inner
        self._log = log
        self.progress = progress

    def run(self, name: str, function: Callable[..., T], /, *args: Any, retries: int = 0, **kwargs: Any) -> T:
        seq = self._box.runs.begin_step(self._run_id, name)
        self.progress.begin(name)
        self._log.write(f"{name}: begins")
        started_s = self._box.clock.monotonic_s()
        try:
            with self._log.listening():
                result = self._inner.run(name, function, *args, retries=retries, **kwargs)
        except BaseException as error:
            self._log.write(f"{name}: {type(error).__name__}: {error}", level="error")
            self._box.runs.end_step(self._run_id, seq, state="failed", detail=str(error)[:500])
            raise
        finally:
            self.progress.end()
        self._box.runs.end_step(self._run_id, seq)
        self._log.write(f"{name}: done in {self._box.clock.monotonic_s() - started_s:.1f} s")
        return result


@contextlib.contextmanager
def recorded_run(
    box: Box,
    kind: RunKind,
    project: str,
    *,
    trigger: str,
    params: dict[str, Any] | None = None,
    idempotency_key: str | None = None,
    flow_run_id: str | None = None,
    steps: Steps | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Run, RecordedSteps]]:
    """A run around an operation: whatever way the block is left, the run is closed with the right state.

    The block closes the run itself (``box.runs.end``) when it has a result to record; otherwise it ends ``completed``.
    """
    run = box.runs.begin(
        kind,
        project,
        trigger=trigger,
        params=params,
        idempotency_key=idempotency_key,
        flow_run_id=flow_run_id,
    )
    log = RunLog(box.home, run.id, box.clock)
    log.write(f"{kind} of {project}, asked for by {trigger}")
    try:
        yield run, RecordedSteps(box, run.id, steps or DirectSteps(), progress or SilentProgress(), log)
    except BaseException as error:
        message = error.message if isinstance(error, BoxError) else f"{type(error).__name__}: {error}"
        # A full disk or a fence must not hide what went wrong first; a run left open is closed at the next start.
        with contextlib.suppress(BoxError):
            if box.runs.get(run.id).state == "running":
                box.runs.end(run.id, _state_for(error), error=message)
        log.write(f"ended: {message}", level="error")
        raise
    finally:
        log.close()
    state = box.runs.get(run.id).state
    if state == "running":
        box.runs.end(run.id, "completed")
    elif state in ("crashed", "cancelled"):
        raise BusyError(f"run {run.id} was closed as {state} meanwhile", hint="start it again")


def _state_for(error: BaseException) -> RunState:
    if isinstance(error, RefusedError):
        return "refused"
    if isinstance(error, GateError):
        return "rejected"
    # Interrupts of all kinds: Ctrl-C, SystemExit, an orchestrator's signal for termination.
    if not isinstance(error, Exception):
        return "cancelled"
    return "failed"
