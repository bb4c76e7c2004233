"""Where a request's time goes: the server in this process, without sockets, and again with one part at a time left out.

    python benchmarks/serving/anatomy.py

The part's price is the difference. Each figure is the fastest of many short turns taken in rotation, so that a busy
machine does not blur it; what it leaves out is the kernel's work for sockets, which is the same for every server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / "services"))

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from benchmarks.serving.model import MODEL, build_onnx, fill_box, make_row
from mlops_box.home import home_from

CONNECTIONS = (1, 8, 64)
# Enough for the interpreter to get used again to what was patched.
TURNS = 40
Turn = Callable[[], Any]


class Pipe(asyncio.Transport):
    """A connection's far end, which keeps what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 81)}.get(name, default)

    def close(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Connections:
    """``count`` connections that all ask at once; a turn ends when all have their answer."""

    def __init__(self, config: uvicorn.Config, protocol: type[HttpToolsProtocol], request: bytes, count: int):
        state = ServerState()
        state.default_headers = [(b"date", b"Tue, 24 Nov 2026 00:00:00 GMT")]
        loop = asyncio.get_running_loop()
        self._request = request
        self._ends: list[tuple[HttpToolsProtocol, Pipe]] = []
        for _ in range(count):
            pipe = Pipe()
            made = protocol(config, state, {}, _loop=loop)
            made.connection_made(pipe)
            self._ends.append((made, pipe))

    async def turn(self) -> bytes:
        for protocol, pipe in self._ends:
            pipe.written = b""
            protocol.data_received(self._request)
        while not all(b"}" in pipe.written for _, pipe in self._ends):
            await asyncio.sleep(0)
        return self._ends[-1][1].written

    async def best_us(self, turns: int) -> float:
        """Microseconds a request in the fastest of some turns."""
        best = float("inf")
        for _ in range(turns):
            start = time.thread_time_ns()
            await self.turn()
            best = min(best, time.thread_time_ns() - start)
        return best / 1000 / len(self._ends)


def without(name: str) -> contextlib.AbstractContextManager[Any]:
    """The server without one of its parts."""
    from mlops_box.models import runtime
    from mlops_box.serving import door, guard, metrics, prediction_log, predictor

    patches: dict[str, Callable[[], Any]] = {
        "nothing": contextlib.nullcontext,
        "guard (host, origin, type, length)": lambda: mock.patch.object(guard.Guard, "check", _nothing),
        "contract of 30 columns": lambda: mock.patch.object(door.Door, "check", _nothing),
        "duplicate keys": lambda: mock.patch.object(door, "refuse_duplicate_keys", _nothing),
        "metrics": lambda: mock.patch.multiple(metrics.Metrics, answered=_nothing, called=_nothing),
        "log: the line": lambda: mock.patch.object(predictor, "batch_line", _line),
        "log: the write": lambda: mock.patch.object(prediction_log._Segment, "append", _nothing),
        "the model's call": lambda: mock.patch.object(runtime.OnnxModel, "predict", _predict),
    }
    return patches[name]()  # type: ignore[no-any-return]


PARTS = (
    "guard (host, origin, type, length)", "contract of 30 columns", "duplicate keys", "metrics", "log: the line",
    "log: the write", "the model's call",
)  # fmt: skip


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _line(_: Any) -> bytes:
    return b"x" * 600


def _predict(_: Any, tensors: Any, *__: Any) -> Any:
    import numpy as np

    from mlops_box.models.runtime import Output

    return Output(prediction=np.zeros(tensors.rows, dtype=np.float32))


@contextlib.contextmanager
def ours(folder: Path) -> Iterator[tuple[uvicorn.Config, type[HttpToolsProtocol]]]:
    """Our server's configuration around a box with the benchmark's model."""
    from mlops_box_services.eager_http import EagerHttpProtocol
    from mlops_box_services.options import ServerOptions
    from mlops_box_services.server import bentoml_in, config_for, opened

    home = home_from({}, given=folder / "home")
    with bentoml_in(home), opened(ServerOptions(home=home)) as runtime:
        config = config_for(runtime)
        config.load()
        config.loaded_app._runtime = runtime
        yield config, EagerHttpProtocol


async def measure(folder: Path, rotations: int, body: bytes) -> dict[str, dict[int, float]]:
    from benchmarks.serving.apps.bare import app

    head = (
        "POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
    )
    bare = uvicorn.Config(app, http="httptools", lifespan="off", access_log=False, log_level="warning")
    found: dict[str, dict[int, float]] = {}
    with ours(folder) as (config, protocol):
        cases = {
            count: (
                Connections(bare, HttpToolsProtocol, head.format("/", len(body)).encode() + body, count),
                Connections(
                    config,
                    protocol,
                    head.format(f"/models/{MODEL}/predict", len(body)).encode() + body,
                    count,
                ),
            )
            for count in CONNECTIONS
        }
        for _ in range(rotations):
            for count, (plain, own) in cases.items():
                _keep(found, "bare", count, await plain.best_us(TURNS))
                for name in ("nothing", *PARTS):
                    with without(name):
                        _keep(found, name, count, await own.best_us(TURNS))
    return found


def _keep(found: dict[str, dict[int, float]], name: str, count: int, value: float) -> None:
    best = found.setdefault(name, {})
    best[count] = min(best.get(count, float("inf")), value)


def table(found: dict[str, dict[int, float]]) -> str:
    """Microseconds a request, as Markdown."""
    heads = [f"{count} at once" for count in CONNECTIONS]
    lines = [f"| µs a request, no sockets | {' | '.join(heads)} |", "| --- |" + " --- |" * len(CONNECTIONS)]
    own = found["nothing"]

    def line(name: str, values: list[float]) -> str:
        return f"| {name} | {' | '.join(f'{value:.1f}' for value in values)} |"

    lines.append(line("bare uvicorn + orjson + onnxruntime", [found["bare"][count] for count in CONNECTIONS]))
    lines.append(line("mlops-box, all on", [own[count] for count in CONNECTIONS]))
    for name in PARTS:
        lines.append(line(f"of which: {name}", [own[count] - found[name][count] for count in CONNECTIONS]))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rotations", type=int, default=20)
    options = parser.parse_args()
    row = make_row(seed=2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packed = build_onnx(seed=1)
        (folder / "model.onnx").write_bytes(packed)
        os.environ["BENCH_MODEL"] = str(folder / "model.onnx")
        fill_box(folder / "home", packed, row)
        body = json.dumps({"rows": [row]}).encode()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(measure(folder, options.rotations, body))
    print(table(found))


if __name__ == "__main__":
    main()
