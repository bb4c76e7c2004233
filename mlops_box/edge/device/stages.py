"""An act in named stages: what is under way is told, so that people can watch, and tests can pull the plug there."""

from __future__ import annotations

import contextlib
from typing import Callable, Iterator

Watch = Callable[[str, str], None]
"""Called with a stage and ``enter``, ``body`` (half of it is done) or ``leave``."""


def unwatched(stage: str, point: str) -> None:
    """Tell nobody."""


@contextlib.contextmanager
def stage(name: str, watch: Watch) -> Iterator[None]:
    """Tell ``watch`` when the stage begins, and when it ended well."""
    watch(name, "enter")
    yield
    watch(name, "leave")
