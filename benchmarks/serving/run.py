"""Throughput and latency of the box against bare uvicorn, FastAPI and BentoML, in interleaved runs.

    python benchmarks/serving/run.py                 # about fifteen minutes; writes RESULTS.md
    python benchmarks/serving/run.py --quick         # two minutes, prints only
    python benchmarks/serving/run.py --only rows,bulk

Every server runs the same model behind the same body, one process, one worker. Rounds are interleaved and the servers
that are not measured are stopped (SIGSTOP), so that a slow minute of the machine hits all alike.
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from benchmarks.serving.contenders import Contender, Running, contenders, forests, started
from benchmarks.serving.load import Sample, measure, tool
from benchmarks.serving.model import MODEL, build_forest, build_onnx, fill_box, make_row

CONNECTIONS = (1, 8, 64)
BULK_ROWS = 64
JSON, OCTETS = "application/json", "application/octet-stream"


@dataclass(frozen=True)
class Case:
    """What is asked of which server."""

    name: str
    server: Running
    body: bytes
    connections: int
    content_type: str = JSON


@dataclass(frozen=True)
class Measured:
    """Medians over the rounds."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    errors: int


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    parts: dict[str, Callable[[Path, argparse.Namespace], list[str]]] = {
        "rows": one_row, "bulk": bulk, "slow": slow_model, "burst": after_a_burst,
    }  # fmt: skip
    lines = ["# Serving: throughput and latency", ""]
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            lines += [*parts[name](Path(folder), options), ""]
    lines += [_machine(), ""]
    lines += [f"Note: {options.note}", ""] if options.note else []
    lines += [
        f"Command: `python benchmarks/serving/run.py {' '.join(arguments or sys.argv[1:])}`".rstrip(),
        "",
    ]
    text = "\n".join(lines)
    print(text)
    if not options.quick and options.only == "rows,bulk,slow,burst":
        kept = _kept_notes(Path(__file__).with_name("RESULTS.md"))
        Path(__file__).with_name("RESULTS.md").write_text(text + kept)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--only", default="rows,bulk,slow,burst", help="which tables, by comma")
    parser.add_argument("--quick", action="store_true", help="one short round, nothing is written")
    parser.add_argument("--note", default="", help="a remark for RESULTS.md, such as what else was running")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 1, 1.0
    return options


def one_row(folder: Path, options: argparse.Namespace) -> list[str]:
    """One row of 30 numbers as JSON, a cheap model: what a server costs."""
    packed, row = build_onnx(seed=1), make_row(seed=2)
    body = json.dumps({"rows": [row]}).encode()
    with serving(folder, contenders(), packed, body) as (servers, expected):
        for server in servers:
            _assert_answers(server, body, expected)
        cases = [Case(s.contender.name, s, body, c) for c in CONNECTIONS for s in servers]
        found = measured(cases, options)
    names = list(dict.fromkeys(case.name for case in cases))
    bare, bento = names[0], names[-1]
    lines = [
        "## One row, a cheap model",
        "",
        "One row of 30 floats as JSON, a 100 x depth-3 boosted tree in ONNX, one process, keep-alive.",
        f"Medians of {options.rounds} interleaved rounds of {options.seconds:g} s at 1 / 8 / 64 connections.",
        "",
        "| server | req/s | of bare | x BentoML default | p50 ms | p99 ms | CPU µs/request | errors |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in names:
        own = [found[name, c] for c in CONNECTIONS]
        columns = [
            [f"{item.rate:,.0f}" for item in own],
            [f"{found[name, c].rate / found[bare, c].rate:.2f}" for c in CONNECTIONS],
            [f"{found[name, c].rate / found[bento, c].rate:.1f}" for c in CONNECTIONS],
            [f"{item.p50_ms:.2f}" for item in own],
            [f"{item.p99_ms:.2f}" for item in own],
            [f"{item.cpu_us:.0f}" for item in own],
        ]
        errors = sum(item.errors for item in own)
        lines.append(f"| {name} | " + " | ".join(" / ".join(column) for column in columns) + f" | {errors} |")
    return lines


def bulk(folder: Path, options: argparse.Namespace) -> list[str]:
    """Many rows a request, as JSON and as raw float32."""
    packed = build_onnx(seed=1)
    rows = [make_row(seed) for seed in range(BULK_ROWS)]
    body = json.dumps({"rows": rows}).encode()
    raw = np.array([list(row.values()) for row in rows], dtype="<f4").tobytes()
    with serving(folder, contenders(), packed, body) as (servers, _):
        cases = [Case(f"{s.contender.name}, JSON", s, body, 8) for s in servers]
        cases.insert(2, Case(f"{servers[1].contender.name}, float32", servers[1], raw, 8, OCTETS))
        found = measured(cases, options)
    lines = [
        f"## {BULK_ROWS} rows a request",
        "",
        f"The same model, {BULK_ROWS} rows of 30 floats ({len(body):,} bytes as JSON, {len(raw):,} raw), 8 connections.",
        "",
        "| server, body | rows/s | p50 ms | p99 ms | CPU µs/row | errors |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for case in cases:
        item = found[case.name, 8]
        lines.append(
            f"| {case.name} | {item.rate * BULK_ROWS:,.0f} | {item.p50_ms:.2f} | {item.p99_ms:.2f} | "
            f"{item.cpu_us / BULK_ROWS:.2f} | {item.errors} |"
        )
    return lines


def slow_model(folder: Path, options: argparse.Namespace) -> list[str]:
    """A forest of 100 deep trees: what batching is worth."""
    packed, row = build_forest(1, folder), make_row(seed=2)
    body = json.dumps({"rows": [row]}).encode()
    array = json.dumps({"rows": [list(row.values())]}).encode()
    with serving(folder, forests(), packed, array, own_body=body) as (servers, expected):
        bodies = [body, *[array] * (len(servers) - 1)]
        for server, sent in zip(servers, bodies, strict=True):
            _assert_answers(server, sent, expected)
        cases = [
            Case(s.contender.name, s, sent, c)
            for c in CONNECTIONS
            for s, sent in zip(servers, bodies, strict=True)
        ]
        found = measured(cases, options)
    lines = [
        "## A slow model",
        "",
        "A random forest of 100 trees (scikit-learn: about 5 ms a call), one row a request, 1 / 8 / 64 connections.",
        "",
        "| server | req/s | x the box's rate | p50 ms | p99 ms | errors |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    first = servers[0].contender.name
    for server in servers:
        own = [found[server.contender.name, c] for c in CONNECTIONS]
        ratios = [f"{item.rate / found[first, c].rate:.3f}" for item, c in zip(own, CONNECTIONS, strict=True)]
        columns = [
            [f"{item.rate:,.0f}" for item in own], ratios,
            [f"{item.p50_ms:.2f}" for item in own], [f"{item.p99_ms:.2f}" for item in own],
        ]  # fmt: skip
        errors = sum(item.errors for item in own)
        lines.append(
            f"| {server.contender.name} | "
            + " | ".join(" / ".join(column) for column in columns)
            + f" | {errors} |"
        )
    return lines


def after_a_burst(folder: Path, options: argparse.Namespace) -> list[str]:
    """One client before and after 64 clients: a batcher must not remember them."""
    packed, row = build_forest(1, folder), make_row(seed=2)
    body = json.dumps({"rows": [row]}).encode()
    array = json.dumps({"rows": [list(row.values())]}).encode()
    lines = [
        "## One client after a burst",
        "",
        f"The same forest: the median latency of one client before and right after {2 * options.seconds:g} s of 64 clients.",
        "",
        "| server | before, ms | after, ms |",
        "| --- | --- | --- |",
    ]
    with serving(folder, forests(), packed, array, own_body=body) as (servers, _):
        for server, sent in zip(servers, [body, array, array], strict=True):
            server.go_on()
            measure(server.url, sent, connections=1, duration_s=options.seconds)
            before = measure(server.url, sent, connections=1, duration_s=options.seconds)
            measure(server.url, sent, connections=64, duration_s=2 * options.seconds)
            after = measure(server.url, sent, connections=1, duration_s=1)
            server.pause()
            lines.append(f"| {server.contender.name} | {before.p50_ms:.2f} | {after.p50_ms:.2f} |")
    return lines


@contextlib.contextmanager
def serving(
    folder: Path, who: Sequence[Contender], packed: bytes, body: bytes, *, own_body: bytes | None = None
) -> Iterator[tuple[list[Running], float]]:
    """The servers, warm and paused, and what they answer to the first row.

    Args:
        own_body: What the box is asked, where it differs.
    """
    model = folder / "model.onnx"
    model.write_bytes(packed)
    expected = fill_box(folder / "home", packed, make_row(seed=2))
    with contextlib.ExitStack() as stack:
        servers = []
        for contender in who:
            sent = own_body if own_body is not None and MODEL in contender.path else body
            server = stack.enter_context(started(contender, home=folder / "home", model=model, body=sent))
            measure(server.url, sent, connections=8, duration_s=1)
            server.pause()
            servers.append(server)
        yield servers, expected
        for server in servers:
            server.go_on()


def measured(cases: Sequence[Case], options: argparse.Namespace) -> dict[tuple[str, int], Measured]:
    """All cases, round by round, each round in another order."""
    samples: dict[tuple[str, int], list[tuple[Sample, float]]] = {}
    for turn in range(options.rounds):
        for case in [*cases[turn % len(cases) :], *cases[: turn % len(cases)]]:
            sample = _one(case, options.seconds)
            samples.setdefault((case.name, case.connections), []).append(sample)
            sys.stderr.write(
                f"round {turn + 1}/{options.rounds} c={case.connections:<3} {case.name:<50} {sample[0].rate:8.0f}/s\n"
            )
    return {key: _median(found) for key, found in samples.items()}


def _one(case: Case, duration_s: float) -> tuple[Sample, float]:
    server = case.server
    server.go_on()
    time.sleep(0.05)
    before = server.cpu_s()
    sample = measure(
        server.url,
        case.body,
        connections=case.connections,
        duration_s=duration_s,
        content_type=case.content_type,
    )
    used = server.cpu_s() - before
    time.sleep(0.05)
    server.pause()
    return sample, used


def _median(found: Sequence[tuple[Sample, float]]) -> Measured:
    return Measured(
        statistics.median(sample.rate for sample, _ in found),
        statistics.median(sample.p50_ms for sample, _ in found),
        statistics.median(sample.p99_ms for sample, _ in found),
        statistics.median(used / max(sample.requests, 1) for sample, used in found) * 1e6,
        sum(sample.errors for sample, _ in found),
    )


def _assert_answers(server: Running, body: bytes, expected: float) -> None:
    server.go_on()
    answer = server.ask(body)
    server.pause()
    assert abs(answer[0] - expected) < 1e-3, f"{server.contender.name} answers {answer}, not {expected}"


def _kept_notes(results: Path) -> str:
    """What was written by hand below the tables stays."""
    mark = "## Notes"
    text = results.read_text() if results.exists() else ""
    return "\n" + text[text.index(mark) :] if mark in text else ""


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
