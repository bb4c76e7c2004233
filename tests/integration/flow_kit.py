"""A home with a Prefect server of its own, and questions to its API, for tests of the flows."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from mlops_box.home import Home
from mlops_box.operations.prefect_env import (
    PrefectServer,
    api_secret,
    free_port,
    own_environment,
    read_server,
)

TINY_TOML = """
[project]
name = "tiny"

[data]
source = "data.csv"

[data.contract]
x = {{ type = "double", min = 0, max = 1 }}
y = {{ type = "double" }}

[model]
task = "regression"
target = "y"
features = ["x"]
train = "train.py:build"

[gates]
mae = {{ max = {mae} }}

[schedule]
train = "0 3 1 1 *"
monitor = "* * * * *"
"""

TINY_TRAIN = """
import time


def build(params):
    from sklearn.linear_model import LinearRegression

    time.sleep({sleep_s})
    return LinearRegression()
"""


def tiny_project(folder: Path, *, mae: float = 10.0, dirty: bool = False, sleep_s: float = 0.0) -> Path:
    """A regression on 300 rows that trains in a second; ``dirty`` breaks the contract in most rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mlops.toml").write_text(TINY_TOML.format(mae=mae))
    (folder / "train.py").write_text(TINY_TRAIN.format(sleep_s=sleep_s))
    scale = 7.0 if dirty else 1.0
    rows = [f"{scale * i / 300:.5f},{2 * i / 300 + (i % 7) / 70:.5f}" for i in range(300)]
    (folder / "data.csv").write_text("\n".join(["x,y", *rows]) + "\n")
    return folder


def until(condition: Callable[[], Any], *, timeout_s: float = 60.0, what: str = "it") -> Any:
    """Wait for something true; returns it."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} did not happen in {timeout_s} s")


@contextlib.contextmanager
def prefect_server(home: Home) -> Iterator[PrefectServer]:
    """The box's Prefect server, for the block."""
    home.create()
    command = [
        sys.executable,
        "-m",
        "mlops_box_flows.server",
        "--home",
        str(home.root),
        "--port",
        str(free_port()),
    ]
    with (home.logs / "prefect.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        server: PrefectServer = until(lambda: read_server(home), what="the Prefect server's start")
        yield server
    finally:
        process.terminate()
        process.wait(15)


def prefect_environment(home: Home, server: PrefectServer) -> dict[str, str]:
    return own_environment(home, port=server.port, secret=api_secret(home), environ=os.environ)


def ask(home: Home, server: PrefectServer, path: str, body: dict[str, Any] | None = None) -> Any:
    """POST (GET without a body) to the Prefect API."""
    with httpx.Client(base_url=server.api_url, auth=("box", api_secret(home)), trust_env=False) as client:
        for _ in range(20):
            answer = client.get(path) if body is None else client.post(path, json=body)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            # Prefect's SQLite is locked for a moment; its own clients try again too.
            time.sleep(0.5)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def start_flow(home: Home, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mlops_box_flows", *arguments, "--home", str(home.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
    )


def run_flow(home: Home, *arguments: str) -> tuple[int, Any, str]:
    """(exit code, the JSON it printed, standard error) of one flow in place."""
    with start_flow(home, *arguments, "--json") as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, json.loads(out) if out.strip() else None, err
