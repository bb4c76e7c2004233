"""Lives of a real server that end by kill -9: started from a prepared process, asked over HTTP, killed at a random moment."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving.model import MODEL, NAMES

PRELOADED = [
    "mlops_box_services.server", "mlops_box_services.service", "onnxruntime", "pyarrow.compute", "benchmarks.faults.lives",
]  # fmt: skip
JSON = {"Content-Type": "application/json"}
OCTETS = {"Content-Type": "application/octet-stream"}


@dataclass
class Acknowledged:
    """What clients were told, in one life or in many.

    Attributes:
        answers: Prediction id to the answer that was given.
        truths: Prediction id to the ground truth whose storing was confirmed.
    """

    answers: dict[str, float] = field(default_factory=dict)
    truths: dict[str, float] = field(default_factory=dict)
    requests: int = 0


def forge() -> Any:
    """Where servers come from: a process that has imported everything and opened nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def serve(home: str, listener: socket.socket) -> None:
    """A server's whole life, in a process of its own: the same call as ``python -m mlops_box_services`` makes."""
    import logging

    from mlops_box_services.options import ServerOptions
    from mlops_box_services.server import serve_alone

    from mlops_box.home import Home

    logging.basicConfig(level=logging.ERROR, filename=f"{home}/logs/server.log")
    serve_alone(ServerOptions(Home(Path(home))), listener, on_started=lambda: None, on_stopping=lambda: None)


def live_and_die(context: Any, home: Path, dice: random.Random, told: Acknowledged) -> None:
    """One life: start, answer four kinds of clients, die by SIGKILL at a random moment."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    port = listener.getsockname()[1]
    child = context.Process(target=serve, args=(str(home), listener))
    child.start()
    listener.close()
    asked = [_Client(port, kind, dice.randrange(2**32)) for kind in ("row", "rows", "matrix", "truth")]
    for client in asked:
        client.start()
    if dice.random() < 0.9:
        deadline = time.monotonic() + 60
        while not any(client.told.requests for client in asked) and time.monotonic() < deadline:
            time.sleep(0.001)
    time.sleep(dice.uniform(0, 0.25))
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    for client in asked:
        client.join(30)
        told.answers.update(client.told.answers)
        told.truths.update(client.told.truths)
        told.requests += client.told.requests


class _Client(threading.Thread):
    """Asks without a pause until the server is gone; remembers what it was told, and nothing else."""

    def __init__(self, port: int, kind: str, seed: int):
        super().__init__(daemon=True)
        self._port = port
        self._kind = kind
        self._dice = np.random.default_rng(seed)
        self.told = Acknowledged()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            while True:
                self._turn(connection)
        except (OSError, ValueError, http.client.HTTPException):
            return
        finally:
            connection.close()

    def _turn(self, connection: http.client.HTTPConnection) -> None:
        count = 1 if self._kind in ("row", "truth") else int(self._dice.integers(2, 40))
        matrix = self._dice.normal(size=(count, len(NAMES))).astype("<f4")
        if self._kind == "matrix":
            body, headers = matrix.tobytes(), OCTETS
        else:
            rows = [dict(zip(NAMES, map(float, row), strict=True)) for row in matrix]
            body, headers = json.dumps({"rows": rows}).encode(), JSON
        answer = _post(connection, f"/models/{MODEL}/predict", body, headers)
        self.told.answers.update(zip(answer["ids"], answer["predictions"], strict=True))
        self.told.requests += 1
        if self._kind == "truth":
            truth = [{"id": answer["ids"][0], "value": float(matrix[0, 0])}]
            _post(connection, f"/models/{MODEL}/feedback", json.dumps({"truth": truth}).encode(), JSON)
            self.told.truths[answer["ids"][0]] = float(matrix[0, 0])


def _post(
    connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]
) -> dict[str, Any]:
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise SystemExit(f"the server answered {response.status}: {content[:300]!r}")
    answer: dict[str, Any] = json.loads(content)
    return answer


@dataclass(frozen=True)
class Found:
    """What the log holds of what was acknowledged.

    Attributes:
        missing: Acknowledged and not there.
        different: There with another answer.
        twice: Ids that stand in it twice.
        unasked: There, never acknowledged: answered in the moment of the kill.
    """

    missing: int
    different: int
    twice: int
    unasked: int
    truths_missing: int


def compare(
    told: Acknowledged, ids: Sequence[str], values: Sequence[float], truths: dict[str, float]
) -> Found:
    stored = dict(zip(ids, values, strict=True))
    return Found(
        missing=sum(id_ not in stored for id_ in told.answers),
        different=sum(
            id_ in stored and abs(stored[id_] - value) > 1e-6 * max(1.0, abs(value))
            for id_, value in told.answers.items()
        ),
        twice=len(ids) - len(stored),
        unasked=len(stored.keys() - told.answers.keys()),
        truths_missing=sum(truths.get(id_) != value for id_, value in told.truths.items()),
    )
