"""Starting, pausing and stopping the servers that are compared."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.serving.model import MODEL

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Contender:
    """A server: how it is started and where it predicts."""

    name: str
    path: str
    command: tuple[str, ...]


def contenders() -> list[Contender]:
    python = sys.executable
    uvicorn = (
        python,
        "-m",
        "uvicorn",
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--no-access-log",
        "--log-level",
        "warning",
    )
    return [
        Contender("bare uvicorn + orjson + onnxruntime", "/", (*uvicorn, "benchmarks.serving.apps.bare:app")),
        Contender("mlops-box (contract, log, metrics on)", f"/models/{MODEL}/predict", (python, "-m", "mlops_box_services")),
        Contender("FastAPI", "/predict", (*uvicorn, "benchmarks.serving.apps.fast:app")),
        Contender("BentoML, default service", "/predict", (python, "-m", "bentoml", "serve", "benchmarks.serving.apps.bento_default:Plain")),
    ]  # fmt: skip


def forests() -> list[Contender]:
    """Who serves the slow model."""
    bento = (sys.executable, "-m", "bentoml", "serve")
    app = "benchmarks.serving.apps.bento_batchable"
    return [
        Contender("mlops-box", f"/models/{MODEL}/predict", (sys.executable, "-m", "mlops_box_services")),
        Contender("BentoML batchable, scikit-learn", "/predict", (*bento, f"{app}:Sklearn")),
        Contender("BentoML batchable, the same ONNX", "/predict", (*bento, f"{app}:Onnx")),
    ]


class Running:
    """A started server in a process group of its own."""

    def __init__(self, contender: Contender, port: int, process: subprocess.Popen[bytes]):
        self.contender = contender
        self.port = port
        self.process = process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.contender.path}"

    def pause(self) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.killpg(self.process.pid, signal.SIGCONT)

    def cpu_s(self) -> float:
        """User and system time of the server and its children, so far."""
        root = psutil.Process(self.process.pid)
        return sum(sum(process.cpu_times()[:2]) for process in [root, *root.children(recursive=True)])

    def ask(self, body: bytes) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST", self.contender.path, body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer["predictions"] if isinstance(answer, dict) else answer


@contextlib.contextmanager
def started(contender: Contender, *, home: Path, model: Path, body: bytes) -> Iterator[Running]:
    port = _free_port()
    arguments = ["--host", "127.0.0.1", "--port", str(port)]
    if "mlops_box_services" in contender.command:
        arguments += ["--home", str(home)]
    own = {
        "BENCH_MODEL": str(model), "BENCH_FOREST": str(model.with_name("forest.joblib")), "BENTOML_DO_NOT_TRACK": "true", "BENTOML_HOME": str(home.parent / "bentoml"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "services")]),
    }  # fmt: skip
    log = (home.parent / f"{contender.name.split()[0]}.log").open("wb")
    process = subprocess.Popen(
        [*contender.command, *arguments], env={**os.environ, **own}, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
    )  # fmt: skip
    running = Running(contender, port, process)
    try:
        _wait(running, body)
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(running: Running, body: bytes) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            running.ask(body)
            return
        except (OSError, ValueError, KeyError, http.client.HTTPException):
            time.sleep(0.1)
        if running.process.poll() is not None:
            break
    raise SystemExit(f"{running.contender.name} did not start")
