"""A whole box that is up, for tests that kill its parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import flow_kit as kit

from mlops_box.home import Home
from mlops_box.operations.prefect_env import PrefectServer, free_port, read_server
from mlops_box.operations.supervisor.state import UpState, read_state


class RunningBox:
    """A home that comes up on free ports, and questions to it."""

    def __init__(self, home: Home, project: Path, *, port: int | None = None):
        self.home = home
        self.project = project
        self.port = free_port() if port is None else port

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that runs on its own."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        return subprocess.Popen(
            [sys.executable, "-c", "from mlops_box.cli.main import main; main()", *arguments]
            + ["--home", str(self.home.root), "--json"],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def command(self, *arguments: str) -> tuple[int, Any]:
        """Exit code and JSON of a command."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=240)
        assert "Traceback" not in err, err
        return process.returncode, json.loads(out)

    def up(self) -> None:
        code, body = self.command("up", "--detach", "--port", str(self.port))
        assert code == 0, body

    @property
    def state(self) -> UpState:
        state = read_state(self.home)
        assert state is not None
        return state

    def pid(self, name: str) -> int:
        return next(p.pid for p in self.state.processes if p.name == name and p.pid is not None)

    def is_well(self) -> bool:
        state = self.state
        return state.phase == "ready" and all(process.state == "up" for process in state.processes)

    @property
    def prefect(self) -> PrefectServer:
        server = read_server(self.home)
        assert server is not None
        return server

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return kit.ask(self.home, self.prefect, path, body)
