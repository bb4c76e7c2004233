"""What the supervisor tells the other processes of a box: ``run/up.json``, replaced whole at every change."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mlops_box.home import Home
from mlops_box.operations.prefect_env import LOOPBACK
from mlops_box.runs import Owner
from mlops_box.serving.address import http_url

Phase = Literal["starting", "ready", "stopping"]
ProcessState = Literal["waiting", "starting", "up", "unhealthy", "backing off", "stopped"]

UP_LOCK = "up.lock"
# In the environment of everything a supervisor starts, and of what that starts: names its family for sure.
FAMILY = "MLOPS_BOX_SUPERVISOR"


@dataclass(frozen=True)
class ProcessReport:
    """One supervised process; ``pid`` is ``None`` while it does not run."""

    name: str
    state: ProcessState
    pid: int | None
    pid_started: float | None
    started_at: str | None
    restarts: int
    last_exit: int | None

    def owner(self, boot_id: str) -> Owner | None:
        if self.pid is None or self.pid_started is None:
            return None
        return Owner(self.pid, self.pid_started, boot_id)


@dataclass(frozen=True)
class UpState:
    """A supervisor and its processes. ``prefect_api`` is ``None`` without a scheduler."""

    owner: Owner
    family: str
    started_at: str
    phase: Phase
    port: int
    prefect_api: str | None
    external: bool
    processes: tuple[ProcessReport, ...]
    host: str = LOOPBACK

    @property
    def url(self) -> str:
        return http_url(self.host, self.port)

    def is_alive(self) -> bool:
        return self.owner.is_alive()

    @property
    def serves_deployments(self) -> bool:
        """Whether a runner is there to execute what is launched."""
        return (
            self.is_alive()
            and self.phase != "stopping"
            and any(process.name == "runner" for process in self.processes)
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"url": self.url}


def write_state(home: Home, state: UpState) -> None:
    path = _path(home)
    temporary = path.with_name(f".up.json.{state.owner.pid}")
    temporary.write_text(json.dumps(asdict(state)), encoding="utf-8")
    temporary.replace(path)


def read_state(home: Home) -> UpState | None:
    """What the last supervisor said; it may be dead: ask :meth:`UpState.is_alive`."""
    try:
        raw = json.loads(_path(home).read_text(encoding="utf-8"))
        return UpState(
            owner=Owner(**raw["owner"]),
            family=str(raw["family"]),
            started_at=str(raw["started_at"]),
            phase=raw["phase"],
            port=int(raw["port"]),
            prefect_api=raw["prefect_api"],
            external=bool(raw["external"]),
            processes=tuple(ProcessReport(**process) for process in raw["processes"]),
            host=str(raw["host"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def clear_state(home: Home) -> None:
    _path(home).unlink(missing_ok=True)


def _path(home: Home) -> Path:
    return home.run / "up.json"
