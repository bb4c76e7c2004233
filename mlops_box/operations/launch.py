"""Who starts a training that the policy asked for."""

from __future__ import annotations

from typing import Protocol


class Launcher(Protocol):
    """Starts the train operation of a project, at most once per key."""

    def train(self, project: str, *, idempotency_key: str, trigger: str) -> str:
        """Start it (or find the one already started under the key); returns the run's or flow run's id.

        Raises:
            UnavailableError: The orchestrator does not answer; the decision stays pending and is tried again.
        """
        ...
