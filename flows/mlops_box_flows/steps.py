"""Steps of an operation as Prefect tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

T = TypeVar("T")

RETRY_DELAYS_S = [1.0, 5.0, 20.0]


class PrefectSteps:
    """Each step is one task run: shown with its name, state and logs, retried when it asks for it.

    Arguments and results stay in this process: the task takes none, is not cached, and its result is not persisted.
    """

    def run(self, name: str, function: Callable[..., T], /, *args: Any, retries: int = 0, **kwargs: Any) -> T:
        def step() -> T:
            return function(*args, **kwargs)

        wrapped = task(
            name=name,
            retries=retries,
            retry_delay_seconds=RETRY_DELAYS_S[:retries] if retries else 0,
            retry_condition_fn=_is_passing,
            persist_result=False,
            cache_policy=NO_CACHE,
            log_prints=False,
        )(step)
        return wrapped()


def _is_passing(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Only failures of the machine (disk, network) may pass by themselves; a refusal is an answer."""
    return isinstance(state.data, OSError)
