"""What one worker knows of all that serve with it."""

from __future__ import annotations

from typing import Any, Protocol

from mlops_box.serving.metrics_snapshot import MetricsSnapshot


class Family(Protocol):
    """Answers for all workers together, within two seconds.

    Raises:
        UnavailableError: Nobody answers for all.
    """

    async def snapshot(self) -> MetricsSnapshot:
        """What all counted, those that ended included."""

    async def readiness(self) -> dict[str, Any]:
        """Whether all are ready, in the form of :meth:`Runtime.readiness`, and one entry a worker."""
