"""What a supervisor starts: commands, environments, and how to see that each is well."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops_box.home import Home
from mlops_box.operations.prefect_env import (
    LOOPBACK,
    TELEMETRY_OFF,
    answers,
    api_secret,
    external_environment,
    own_environment,
)
from mlops_box.operations.supervisor.state import FAMILY
from mlops_box.serving.access import reached_at
from mlops_box.serving.address import http_url

RUNNER_BEAT_S = 60.0


@dataclass(frozen=True)
class UpOptions:
    """How to come up.

    Attributes:
        port: Of the inference server.
        prefect_port: Of the box's own Prefect server; unused when the user has one.
        scheduler: Run Prefect and the runner beside the inference server.
        access_log: The inference server writes a line for every request.
        workers: How many processes answer, see :meth:`WorkerBounds.parse`.
        external_api: The user's ``PREFECT_API_URL``; the box then starts no Prefect server.
        host: Where the inference server listens.
        allow_hosts: Names that it is called by from elsewhere.
        require_token: Ask for tokens on the loopback interface as well.
        grpc: The inference server speaks gRPC too.
        grpc_port: Where; ``None`` for the port after ``port``, or a free one.
    """

    port: int
    prefect_port: int
    scheduler: bool = True
    access_log: bool = False
    workers: str = "1"
    external_api: str | None = None
    host: str = LOOPBACK
    allow_hosts: tuple[str, ...] = ()
    require_token: bool = False
    grpc: bool = True
    grpc_port: int | None = None

    @property
    def reach(self) -> tuple[str, ...]:
        """How the server may be reached, as command lines say it."""
        names = [part for name in self.allow_hosts for part in ("--allow-host", name)]
        grpc = (
            ["--no-grpc"] if not self.grpc else ["--grpc-port", str(self.grpc_port)] if self.grpc_port else []
        )
        return ("--host", self.host, *names, *(["--require-token"] if self.require_token else []), *grpc)

    @property
    def prefect_api(self) -> str | None:
        if not self.scheduler:
            return None
        return self.external_api or f"http://{LOOPBACK}:{self.prefect_port}/api"


@dataclass(frozen=True)
class ProcessSpec:
    """One process to keep alive.

    Attributes:
        after: The process that must be well before this one is started.
        healthy: Answers whether it is well, given its pid; called from a thread, may take seconds.
        start_s: How long it may take to become well.
        hang_s: How long it may be unwell before it is killed and started again.
        stop_s: How long it may take to stop after SIGTERM.
        spares_children: Its children live on when it dies: a training outlives a runner that was killed.
    """

    name: str
    title: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    healthy: Callable[[int], bool]
    after: str | None = None
    start_s: float = 120.0
    hang_s: float = 45.0
    stop_s: float = 15.0
    spares_children: bool = False


def specs(
    home: Home, options: UpOptions, *, family: str, environ: Mapping[str, str]
) -> tuple[ProcessSpec, ...]:
    """All processes of a box, in the order of their start."""
    mark = {FAMILY: family, "PYTHONUNBUFFERED": "1", "MLOPS_BOX_HOME": str(home.root)}
    root = str(home.root)
    found = []
    if options.scheduler:
        if options.external_api is None:
            prefect_env = own_environment(
                home, port=options.prefect_port, secret=api_secret(home), environ=environ
            )
            found.append(
                ProcessSpec(
                    name="prefect",
                    title="Prefect server",
                    command=_python(
                        "mlops_box_flows.server", "--home", root, "--port", str(options.prefect_port)
                    ),
                    env=prefect_env | mark,
                    healthy=lambda _pid: answers(f"{options.prefect_api}/health", timeout_s=5.0),
                )
            )
        else:
            prefect_env = external_environment(environ)
        found.append(
            ProcessSpec(
                name="runner",
                title="deployment runner",
                command=_python("mlops_box_flows.runner", "--home", root),
                env=prefect_env | mark,
                healthy=lambda pid: _beats(home.run / "runner.json", pid),
                after="prefect" if options.external_api is None else None,
                hang_s=90.0,
                stop_s=40.0,
                spares_children=True,
            )
        )
    plain = {name: value for name, value in environ.items() if not name.startswith("PREFECT_")}
    found.append(
        ProcessSpec(
            name="server",
            title="inference server",
            command=_python(
                "mlops_box_services",
                "--home",
                root,
                "--port",
                str(options.port),
                *(["--access-log"] if options.access_log else []),
                "--workers",
                options.workers,
                *options.reach,
            ),
            env=plain | TELEMETRY_OFF | mark,
            healthy=lambda _pid: answers(
                f"{http_url(reached_at(options.host), options.port)}/livez", timeout_s=5.0
            ),
        )
    )
    return tuple(found)


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


def _beats(path: Path, pid: int) -> bool:
    """The runner rewrites its file every few seconds, with its pid inside."""
    import json

    try:
        age_s = time.time() - path.stat().st_mtime
        return age_s < RUNNER_BEAT_S and json.loads(path.read_text(encoding="utf-8"))["pid"] == pid
    except (OSError, ValueError, KeyError):
        return False
