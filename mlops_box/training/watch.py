"""Who is told how a training in epochs goes."""

from __future__ import annotations

from typing import Protocol

from mlops_box.epochs import EpochPlan


class EpochWatch(Protocol):
    """Told of each epoch of a torch training, in order."""

    def begin(self, plan: EpochPlan) -> None:
        """The first epoch of this process begins; epochs before an interruption were told already."""
        ...

    def epoch(self, number: int, losses: dict[str, float], *, replayed: bool) -> None:
        """Epoch ``number`` (from 1) is done; ``replayed``: by another process, as its checkpoint tells."""
        ...

    def end(self) -> None:
        """No more epochs come: all are done, or the training stopped early."""
        ...


class NoWatch:
    """Is told, and does nothing."""

    def begin(self, plan: EpochPlan) -> None: ...

    def epoch(self, number: int, losses: dict[str, float], *, replayed: bool) -> None: ...

    def end(self) -> None: ...
