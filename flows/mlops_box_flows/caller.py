"""Who called a flow: a person in place, or the orchestrator.

A flow's parameters travel as JSON. What cannot (a progress display, the outcome as an object, the error with its exit
code) passes beside them, in a context variable that only an in-place call sets.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from mlops_box.errors import BoxError
from mlops_box.progress import Progress, SilentProgress


@dataclass
class Caller:
    """What an in-place call gives to the flow, and what it gets back."""

    in_place: bool = False
    progress: Progress = field(default_factory=SilentProgress)
    outcome: Any = None
    error: BoxError | None = None
    interrupted: bool = False


CALLER: ContextVar[Caller | None] = ContextVar("mlops_box_caller", default=None)


def current_caller() -> Caller:
    """The in-place caller; a silent one under the orchestrator."""
    return CALLER.get() or Caller()
