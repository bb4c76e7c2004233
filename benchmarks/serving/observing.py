"""What the access log and the traces cost a request: the same server with neither, with one, with both.

    python benchmarks/serving/observing.py            # about a minute and a half; prints a table

The collector is a process on loopback that answers and forgets. CPU is that of the server alone: user and system time,
with the thread that writes lines and makes spans.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.serving.contenders import Contender, Running, started
from benchmarks.serving.load import Sample, measure
from benchmarks.serving.model import MODEL, build_onnx, fill_box, make_row

CONNECTIONS = (1, 8, 64)
ROUNDS, SECONDS = 3, 2.0
Cell = tuple[Sample, float]


class Forgetful(http.server.BaseHTTPRequestHandler):
    """A collector."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def main() -> None:
    if sys.argv[1:] == ["--collector"]:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forgetful)
        print(server.server_port, flush=True)
        server.serve_forever()
    collector = subprocess.Popen([sys.executable, __file__, "--collector"], stdout=subprocess.PIPE, text=True)
    try:
        assert collector.stdout is not None
        endpoint = f"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{int(collector.stdout.readline())}"
        with tempfile.TemporaryDirectory() as folder:
            report(run(Path(folder), endpoint))
    finally:
        collector.terminate()
        collector.wait()


def run(folder: Path, endpoint: str) -> dict[tuple[str, int], list[Cell]]:
    serve = (sys.executable, "-m", "mlops_box_services")
    path = f"/models/{MODEL}/predict"
    servers = [
        Contender("neither", path, serve),
        Contender("access log", path, (*serve, "--access-log")),
        Contender("traces, 1 in 100", path, ("env", endpoint, "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.01", *serve)),
        Contender("traces, all", path, ("env", endpoint, *serve)),
    ]  # fmt: skip
    onnx, row = build_onnx(seed=1), make_row(seed=2)
    body = json.dumps({"rows": [row]}).encode()
    cells: dict[tuple[str, int], list[Cell]] = {}
    with contextlib.ExitStack() as stack:
        running = []
        for number, contender in enumerate(servers):
            home = folder / str(number) / "home"
            home.parent.mkdir()
            fill_box(home, onnx, row)
            running.append(stack.enter_context(started(contender, home=home, model=folder, body=body)))
        for server in running:
            server.pause()
        for _ in range(ROUNDS):
            for connections in CONNECTIONS:
                for server in running:
                    cell = _measured(server, body, connections)
                    cells.setdefault((server.contender.name, connections), []).append(cell)
    return cells


def _measured(server: Running, body: bytes, connections: int) -> Cell:
    server.go_on()
    measure(server.url, body, connections=connections, duration_s=1)
    before_s = server.cpu_s()
    sample = measure(server.url, body, connections=connections, duration_s=SECONDS)
    cpu_s = server.cpu_s() - before_s
    server.pause()
    return sample, cpu_s


def report(cells: dict[tuple[str, int], list[Cell]]) -> None:
    print("| server | connections | requests/s | p50 ms | p99 ms | CPU us/request | errors |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for (name, connections), found in cells.items():
        rate, p50, p99 = (
            statistics.median(getattr(sample, field) for sample, _ in found)
            for field in ("rate", "p50_ms", "p99_ms")
        )
        cpu = statistics.median(cpu_s / sample.requests * 1e6 for sample, cpu_s in found)
        errors = sum(sample.errors for sample, _ in found)
        print(f"| {name} | {connections} | {rate:,.0f} | {p50:.2f} | {p99:.2f} | {cpu:.0f} | {errors} |")


if __name__ == "__main__":
    main()
