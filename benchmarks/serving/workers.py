"""What a second worker buys: one process against two behind the doorkeeper, with a cheap and with a slow model.

    python benchmarks/serving/workers.py             # about two minutes; writes WORKERS.md
    python benchmarks/serving/workers.py --quick     # prints only

Rounds are interleaved and the server that is not measured is stopped (SIGSTOP). The load generator runs on the same
machine: with two processors it takes from the servers what it needs itself.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.machine import describe
from benchmarks.serving.contenders import Contender, Running, started
from benchmarks.serving.load import Sample, measure, tool
from benchmarks.serving.model import MODEL, NAMES, build_onnx, fill_box, make_row

CONNECTIONS = (1, 8, 64)
WORKERS = (1, 2)
Cells = dict[tuple[str, int, int], list[tuple[Sample, float]]]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--quick", action="store_true", help="one short round, nothing is written")
    parser.add_argument("--note", default="", help="a remark, such as what else was running")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 1, 1.0
    machine = describe()
    row = make_row(seed=2)
    models = {"cheap": build_onnx(seed=1), "slow": network(seed=1)}
    calls = {name: call_ms(packed, row) for name, packed in models.items()}
    cells: Cells = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, packed in models.items():
            cells |= run(Path(folder) / name, name, packed, row, options.rounds, options.seconds)
    text = report(cells, calls, machine, options)
    print(text)
    if not options.quick:
        Path(__file__).with_name("WORKERS.md").write_text(text)


def network(seed: int, width: int = 4096) -> bytes:
    """A network of two hidden layers, some milliseconds a call: ``numeric`` float32 [n, 30] to ``prediction`` [n].

    A forest of 100 trees is no slow model here: what took scikit-learn 8.5 ms a row took 0.01 ms as ONNX.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    dice = np.random.default_rng(seed)
    sizes = [len(NAMES), width, width, 1]
    weights = [
        numpy_helper.from_array((dice.normal(size=shape) / shape[0] ** 0.5).astype(np.float32), f"w{index}")
        for index, shape in enumerate(itertools.pairwise(sizes))
    ]
    axes = numpy_helper.from_array(np.array([1], dtype=np.int64), "axes")
    nodes, last = [], "numeric"
    for index in range(len(weights)):
        nodes.append(helper.make_node("MatMul", [last, f"w{index}"], [f"h{index}"]))
        last = f"h{index}"
        if index < len(weights) - 1:
            nodes.append(helper.make_node("Relu", [last], [f"r{index}"]))
            last = f"r{index}"
    nodes.append(helper.make_node("Squeeze", [last, "axes"], ["prediction"]))
    graph = helper.make_graph(
        nodes, "slow",
        [helper.make_tensor_value_info("numeric", TensorProto.FLOAT, ["n", len(NAMES)])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["n"])],
        [*weights, axes],
    )  # fmt: skip
    made = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def call_ms(packed: bytes, row: dict[str, float]) -> dict[int, float]:
    """The best of some calls in one thread, by rows."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(packed, options, providers=["CPUExecutionProvider"])
    found = {}
    for rows in (1, 32):
        matrix = np.array([list(row.values())] * rows, dtype=np.float32)
        took = []
        for _ in range(20):
            start = time.perf_counter()
            session.run(["prediction"], {"numeric": matrix})
            took.append(time.perf_counter() - start)
        found[rows] = min(took) * 1000
    return found


def run(
    folder: Path, name: str, packed: bytes, row: dict[str, float], rounds: int, duration_s: float
) -> Cells:
    body = json.dumps({"rows": [row]}).encode()
    cells: Cells = {}
    with contextlib.ExitStack() as stack:
        servers: dict[int, Running] = {}
        for workers in WORKERS:
            home = folder / str(workers) / "home"
            home.parent.mkdir(parents=True)
            fill_box(home, packed, row)
            command = (sys.executable, "-m", "mlops_box_services", "--workers", str(workers))
            contender = Contender(f"{workers}", f"/models/{MODEL}/predict", command)
            servers[workers] = stack.enter_context(started(contender, home=home, model=folder, body=body))
        time.sleep(5)  # Until all workers are warm.
        for server in servers.values():
            server.pause()
        for _ in range(rounds):
            for connections in CONNECTIONS:
                for workers, server in servers.items():
                    cells.setdefault((name, workers, connections), []).append(
                        _measured(server, body, connections, duration_s)
                    )
    return cells


def _measured(server: Running, body: bytes, connections: int, duration_s: float) -> tuple[Sample, float]:
    server.go_on()
    measure(server.url, body, connections=connections, duration_s=1)
    before_s = server.cpu_s()
    sample = measure(server.url, body, connections=connections, duration_s=duration_s)
    used_s = server.cpu_s() - before_s
    server.pause()
    return sample, used_s


def report(
    cells: Cells, calls: dict[str, dict[int, float]], machine: str, options: argparse.Namespace
) -> str:
    lines = [
        "# Workers: one process against two behind the doorkeeper", "",
        "One row of 30 floats as JSON, keep-alive, contract, log and metrics on. Medians of "
        f"{options.rounds} interleaved rounds of {options.seconds:g} s. gRPC listens as well, without clients.", "",
        "| model | connections | 1 worker, req/s | 2 workers, req/s | gain | p50 ms | p99 ms | CPU µs/request | errors |",
        "| --- | ---: | ---: | ---: | ---: | --- | --- | --- | ---: |",
    ]  # fmt: skip
    for name in calls:
        for connections in CONNECTIONS:
            found = [cells[name, workers, connections] for workers in WORKERS]
            rates = [statistics.median(sample.rate for sample, _ in cell) for cell in found]
            p50, p99 = (
                " / ".join(f"{statistics.median(getattr(s, what) for s, _ in cell):.2f}" for cell in found)
                for what in ("p50_ms", "p99_ms")
            )
            cpu = " / ".join(
                f"{statistics.median(used / max(s.requests, 1) for s, used in cell) * 1e6:,.0f}"
                for cell in found
            )
            errors = sum(sample.errors for cell in found for sample, _ in cell)
            lines.append(
                f"| {name} | {connections} | {rates[0]:,.0f} | {rates[1]:,.0f} | {rates[1] / rates[0]:.2f} "
                f"| {p50} | {p99} | {cpu} | {errors} |"
            )
    models = "; ".join(
        f"{name}: {ms[1]:.2f} ms for 1 row, {ms[32]:.2f} ms for 32" for name, ms in calls.items()
    )
    lines += [
        "", f"A call of the model alone, one thread: {models}.", "",
        f"{datetime.now(UTC):%Y-%m-%d}. {machine} Load by {tool()} on the same machine: with few processors it competes "
        "with the servers, so a second worker gains less than it would for clients elsewhere.", "",
    ]  # fmt: skip
    lines += [f"Note: {options.note}", ""] if options.note else []
    lines += [
        f"Command: `python benchmarks/serving/workers.py --rounds {options.rounds} --seconds {options.seconds:g}`",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
