"""Who starts a training that the policy asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mlops_box.errors import BoxError

if TYPE_CHECKING:
    from mlops_box.box import Box


class Launcher(Protocol):
    """Starts the train operation of a project, at most once per key."""

    def train(self, project: str, *, idempotency_key: str, trigger: str) -> str:
        """Start it (or find the one already started under the key); returns the run's or flow run's id.

        Raises:
            UnavailableError: The orchestrator does not answer; the decision stays pending and is tried again.
        """
        ...


class DirectLauncher:
    """Trains in this process, before it returns."""

    def __init__(self, box: Box):
        self._box = box

    def train(self, project: str, *, idempotency_key: str, trigger: str) -> str:
        """Train; returns the run's id even where its gates, its contract or its code said no: the run tells which.

        Raises:
            BoxError: It could not even begin (the project's folder is gone, another training runs under the key).
        """
        from mlops_box.operations.train import train
        from mlops_box.project import load_project

        folder = self._box.projects.get(project).folder
        try:
            outcome = train(self._box, load_project(folder), trigger=trigger, idempotency_key=idempotency_key)
        except BoxError as error:
            run = self._box.runs.by_key(idempotency_key)
            named = error.details.get("run_id")
            if isinstance(named, str):
                return named
            if run is None or run.state == "running":
                raise
            return run.id
        return outcome.run_id
