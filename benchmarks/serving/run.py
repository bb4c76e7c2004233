"""REST throughput and latency of the box against bare uvicorn, FastAPI and BentoML, in one interleaved run.

    python benchmarks/serving/run.py                 # about five minutes; writes RESULTS.md
    python benchmarks/serving/run.py --quick         # half a minute, prints only

Every server runs the same ONNX file behind the same JSON body, one process, one worker. Rounds are interleaved and the
servers that are not measured are stopped (SIGSTOP), so that a slow minute of the machine hits all alike.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.serving.contenders import Running, contenders, started
from benchmarks.serving.load import Sample, measure, tool
from benchmarks.serving.model import build_onnx, fill_box, make_row

CONNECTIONS = (1, 8, 64)
Cells = dict[tuple[str, int], list[tuple[Sample, float]]]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    with tempfile.TemporaryDirectory() as folder:
        cells = run(Path(folder), rounds=options.rounds, duration_s=options.seconds)
    text = report(cells, options)
    print(text)
    if not options.quick:
        Path(__file__).with_name("RESULTS.md").write_text(text)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--quick", action="store_true", help="one short round, nothing is written")
    parser.add_argument("--note", default="", help="a remark for RESULTS.md, such as what else was running")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 1, 1.0
    return options


def run(folder: Path, *, rounds: int, duration_s: float) -> Cells:
    """All measurements: (server, connections) to samples with their CPU seconds."""
    packed, row = build_onnx(seed=1), make_row(seed=2)
    model = folder / "model.onnx"
    model.write_bytes(packed)
    expected = fill_box(folder / "home", packed, row)
    body = json.dumps({"rows": [row]}).encode()
    cells: Cells = {}
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(started(contender, home=folder / "home", model=model, body=body))
            for contender in contenders()
        ]
        for server in running:
            answer = server.ask(body)
            assert abs(answer[0] - expected) < 1e-4, (
                f"{server.contender.name} answers {answer}, not {expected}"
            )
            measure(server.url, body, connections=8, duration_s=1)
            server.pause()
        for turn in range(rounds):
            for connections in CONNECTIONS:
                for server in running[turn % len(running) :] + running[: turn % len(running)]:
                    sample = _one(server, body, connections, duration_s)
                    cells.setdefault((server.contender.name, connections), []).append(sample)
                    sys.stderr.write(
                        f"round {turn + 1}/{rounds} c={connections:<3} {server.contender.name:<40} {sample[0].rate:8.0f}/s\n"
                    )
        for server in running:
            server.go_on()
    return cells


def _one(server: Running, body: bytes, connections: int, duration_s: float) -> tuple[Sample, float]:
    server.go_on()
    server.ask(body)
    before = server.cpu_s()
    sample = measure(server.url, body, connections=connections, duration_s=duration_s)
    used = server.cpu_s() - before
    time.sleep(0.05)
    server.pause()
    return sample, used


def report(cells: Cells, options: argparse.Namespace) -> str:
    """The table, the machine and the command."""
    names = list(dict.fromkeys(name for name, _ in cells))
    rates = {cell: statistics.median(sample.rate for sample, _ in found) for cell, found in cells.items()}
    bare, bento = names[0], names[-1]
    lines = [
        "# REST serving: throughput and latency",
        "",
        "One row of 30 floats as JSON, a 100 x depth-3 boosted tree in ONNX, one process, keep-alive.",
        f"Medians of {options.rounds} interleaved rounds of {options.seconds:g} s at 1 / 8 / 64 connections.",
        "",
        "| server | req/s | of bare | x BentoML default | p50 ms | p99 ms | CPU µs/request | errors |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in names:
        found = [cells[(name, connections)] for connections in CONNECTIONS]
        columns = [
            [f"{rates[(name, c)]:,.0f}" for c in CONNECTIONS],
            [f"{rates[(name, c)] / rates[(bare, c)]:.2f}" for c in CONNECTIONS],
            [f"{rates[(name, c)] / rates[(bento, c)]:.1f}" for c in CONNECTIONS],
            [f"{statistics.median(s.p50_ms for s, _ in cell):.2f}" for cell in found],
            [f"{statistics.median(s.p99_ms for s, _ in cell):.2f}" for cell in found],
            [
                f"{statistics.median(used / max(s.requests, 1) for s, used in cell) * 1e6:.0f}"
                for cell in found
            ],
        ]
        errors = sum(sample.errors for cell in found for sample, _ in cell)
        lines.append(f"| {name} | " + " | ".join(" / ".join(column) for column in columns) + f" | {errors} |")
    lines += ["", _machine(), ""]
    lines += [f"Note: {options.note}", ""] if options.note else []
    lines += [
        f"Command: `python benchmarks/serving/run.py --rounds {options.rounds} --seconds {options.seconds:g}`",
        "",
    ]
    return "\n".join(lines)


def _machine() -> str:
    from importlib.metadata import version

    parts = ["uvicorn", "bentoml", "fastapi", "onnxruntime", "orjson", "uvloop", "httptools"]
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} x {model}, Linux {platform.release()}, Python {platform.python_version()}, "
        f"{', '.join(f'{part} {version(part)}' for part in parts)}; load by {tool()} on the same machine; "
        f"load average at the end {load}."
    )


if __name__ == "__main__":
    main()
