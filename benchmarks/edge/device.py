"""The device's server alone: start to first prediction, memory, latency: ``python -m benchmarks.edge.device [--alone]``.

The runtime is laid out and compiled as an install leaves it and has numpy and onnxruntime alone; the model is that of the
serving benchmark. What the machine does beside it counts: ``--alone`` (as root) puts server and client ahead of all else
(SCHED_FIFO), as on a device that does nothing else; caches and hyperthreads are shared all the same.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from py_compile import PycInvalidationMode

import numpy as np
import onnxruntime
import pyarrow as pa

from benchmarks.machine import describe, table
from benchmarks.serving.model import MODEL, NAMES, build_onnx, make_row
from mlops_box.edge.device.place import Place
from mlops_box.models.golden import Golden
from mlops_box.models.values import Feature, Signature
from tests.integration.device_kit import RUNTIME, SITE, fill_slot, make_place, serve_slot

RESULTS = Path(__file__).parent / "DEVICE.md"
STARTS = 12
REQUESTS = 5000
PACED = 2000
PORT = 18123
# What is imported, step by step, before a server can answer.
LADDER = (
    "pass",
    "import numpy",
    "import numpy, onnxruntime",
    "import numpy, onnxruntime, mlops_edge.server.run",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alone", action="store_true", help="Ahead of what else the machine does.")
    options = parser.parse_args()
    machine = describe()
    if options.alone:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    with tempfile.TemporaryDirectory() as folder:
        place = lay_out(Path(folder) / "edge")
        steps = [(step, *ladder(place, step)) for step in LADDER]
        starts = [start(place) for _ in range(STARTS)]
        latency = {name: ask(place, count, pause_s) for name, count, pause_s in (
            ("one after the other", REQUESTS, 0.0), ("a thousand a second at most", PACED, 0.001),
        )}  # fmt: skip
    RESULTS.write_text(page(machine, options.alone, steps, starts, latency))
    print(RESULTS.read_text())


def lay_out(root: Path) -> Place:
    """A device with the model of the serving benchmark."""
    packed, row = build_onnx(0), make_row(0)
    session = onnxruntime.InferenceSession(packed, providers=["CPUExecutionProvider"])
    matrix = np.array([list(row.values())], dtype=np.float32)
    expected = float(session.run(["prediction"], {"numeric": matrix})[0][0])
    rules = "\n".join(f'{name} = {{ type = "double", min = -100, max = 100 }}' for name in NAMES)
    rng = np.random.default_rng(0)
    place = make_place(root)
    fill_slot(
        place, "a", MODEL, 1, packed=packed, golden=Golden((row,), prediction=(expected,)),
        signature=Signature("regression", "y", tuple(Feature(name, "numeric", "double") for name in NAMES)),
        project=f'[project]\nname = "{MODEL}"\n[data]\nsource = "x.csv"\n[data.contract]\n{rules}\n'
        f'[model]\ntask = "regression"\ntarget = "y"\nfeatures = {NAMES}\n',
        reference=pa.table({name: rng.normal(size=2000) for name in NAMES}), predictions=rng.normal(size=2000),
    )  # fmt: skip
    serve_slot(place, "a")
    for layer in (RUNTIME, SITE):
        compileall.compile_dir(
            place.layer(layer), quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
        )
    return place


def environment(place: Place) -> dict[str, str]:
    site = place.layer(SITE) / "site"
    return {"PYTHONPATH": f"{place.layer(RUNTIME)}:{site}", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


def ladder(place: Place, step: str) -> tuple[float, float]:
    """Best processor seconds of ten, and resident MB, of a process that has done so much."""
    code = f"{step}\nimport time\nprint(time.process_time(), open('/proc/self/statm').read().split()[1])"
    command = [sys.executable, "-S", "-s", "-c", code]
    told = [subprocess.run(command, env=environment(place), capture_output=True, text=True, check=True).stdout.split() for _ in range(10)]  # fmt: skip
    return min(float(one[0]) for one in told), int(told[-1][1]) * 4096 / 1e6


class Running:
    """A server process and a connection to it, from the moment that it takes one."""

    def __init__(self, place: Place) -> None:
        body = json.dumps({"rows": [make_row(1)]}).encode()
        self.request = (
            b"POST /models/%b/predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%b" % (MODEL.encode(), len(body), body)
        )
        words = ["-m", "mlops_edge.server", "--root", str(place.root), "--slot", "a", "--port", str(PORT)]
        self.process = subprocess.Popen([sys.executable, "-S", "-s", *words], env=environment(place))
        while True:
            try:
                self.connection = socket.create_connection(("127.0.0.1", PORT))
                break
            except ConnectionRefusedError:
                time.sleep(0.0005)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self) -> None:
        self.connection.sendall(self.request)
        answer = self.connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200"), answer

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self, what: str) -> float:
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) * 1024 / 1e6

    def stop(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.wait()


def start(place: Place) -> tuple[float, float]:
    """Seconds, and processor seconds, from the start of the process to its first prediction."""
    started_s = time.perf_counter()
    running = Running(place)
    running.ask()
    took_s = time.perf_counter() - started_s
    used_s = running.cpu_s()
    running.stop()
    return took_s, used_s


def ask(place: Place, count: int, pause_s: float) -> dict[str, float]:
    """Milliseconds of requests on one kept connection, memory after them, processor µs a request."""
    running = Running(place)
    for _ in range(200):
        running.ask()
    before_s = running.cpu_s()
    took: list[float] = []
    for _ in range(count):
        begun_s = time.perf_counter()
        running.ask()
        took.append((time.perf_counter() - begun_s) * 1e3)
        time.sleep(pause_s)
    cuts = statistics.quantiles(took, n=100)
    found = {
        "p50": cuts[49],
        "p90": cuts[89],
        "p99": cuts[98],
        "cpu_us": (running.cpu_s() - before_s) / count * 1e6,
    }
    found |= {"rss": running.memory_mb("Rss"), "pss": running.memory_mb("Pss")}
    running.stop()
    return found


def seconds(value: float) -> str:
    return f"{value:.3f} s"


def page(
    machine: str,
    alone: bool,
    steps: Sequence[tuple[str, float, float]],
    starts: Sequence[tuple[float, float]],
    latency: dict[str, dict[str, float]],
) -> str:
    """The results as Markdown."""
    wall, used = [one[0] for one in starts], [one[1] for one in starts]
    rows = [
        ["start to first prediction, best", "0.15 s", seconds(min(wall))],
        ["the same, median", "", seconds(statistics.median(wall))],
        ["the same, processor time", "", seconds(statistics.median(used))],
        ["RSS after the requests", "70 MB", f"{max(one['rss'] for one in latency.values()):.0f} MB"],
        ["PSS after the requests", "", f"{max(one['pss'] for one in latency.values()):.0f} MB"],
        *([f"p50, {name}", "0.3 ms", f"{one['p50']:.3f} ms"] for name, one in latency.items()),
    ]
    details = [
        [name, *(f"{one[key]:.3f}" for key in ("p50", "p90", "p99")), f"{one['cpu_us']:.0f}"]
        for name, one in latency.items()
    ]
    imports = [[step, seconds(used_s), f"{rss:.0f} MB"] for step, used_s, rss in steps]
    return "\n\n".join(
        [
            "# The device's server",
            f"Made by `python -m benchmarks.edge.device{' --alone' if alone else ''}`. {machine}",
            f"One model of 100 boosted trees on 30 numbers, every number under a contract, every row logged. {STARTS} starts, the "
            f"files in the page cache; {REQUESTS:,} and {PACED:,} requests of one row on one kept connection.",
            table(["what", "bound", "measured"], rows),
            table(["requests", "p50 ms", "p90 ms", "p99 ms", "processor µs each"], details),
            "What a start is made of (processor time, best of ten):",
            table(["imported", "processor time", "RSS"], imports),
        ]
    ) + "\n"  # fmt: skip


if __name__ == "__main__":
    main()
