"""A bundle on a device beside the same model as a Bento: ``python benchmarks/edge/run.py --wheels FOLDER``."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import psutil
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

from benchmarks.machine import describe, table  # noqa: E402
from benchmarks.serving.model import NAMES, make_row  # noqa: E402
from mlops_box.box import Box  # noqa: E402
from mlops_box.edge.targets import find_target  # noqa: E402
from mlops_box.edge.wheels import WheelCache  # noqa: E402
from mlops_box.models.values import PACKED_FILE  # noqa: E402
from mlops_box.operations.edge.bundle import box_keys  # noqa: E402
from mlops_box.operations.edge.export import ExportRequest, export_bundle  # noqa: E402
from mlops_box.operations.edge.simulate import Simulation, simulate_bundle  # noqa: E402
from mlops_box.operations.train import train  # noqa: E402
from mlops_box.project import load_project  # noqa: E402

RESULTS = Path(__file__).parent / "RESULTS.md"
REQUESTS = 1000
WARM_UP = 50
PROJECT = """
[project]
name = "bench"
[data]
source = "rows.csv"
[data.contract]
{rules}
y = {{ type = "double" }}
[model]
task = "regression"
target = "y"
features = {features}
"""
TRAIN = """
from sklearn.ensemble import GradientBoostingRegressor

def build(params):
    return GradientBoostingRegressor(n_estimators=100, max_depth=3, random_state=0)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--wheels", type=Path, help="Wheels that were fetched before; else pip fetches them.")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--note", default="", help="About the machine, for the results.")
    options = parser.parse_args()
    machine = describe()
    with tempfile.TemporaryDirectory(prefix="bench-edge-") as name:
        folder = Path(name)
        _make_project(folder / "project")
        with Box.open(folder / "home", actor="benchmark") as box:
            train(box, load_project(folder / "project"))
            sizes, bundle = _export(box, folder, options.wheels)
            model = folder / "packed.onnx"
            model.write_bytes(box.models.file(box.models.get("bench"), PACKED_FILE))
            keys = box_keys(box)
        devices: list[Simulation] = []
        bentos: list[dict[str, float]] = []
        for _ in range(options.rounds):
            devices.append(simulate_bundle(bundle, trusted=keys))
            bentos.append(_bento(model, folder))
    options.output.write_text(
        _text(sizes, devices, bentos, f"{machine} {options.note}".rstrip(), options.rounds)
    )


def _make_project(folder: Path) -> None:
    """2,000 rows of 30 numbers; the target follows six of them."""
    import numpy as np

    folder.mkdir()
    x = np.random.default_rng(0).normal(size=(2000, len(NAMES)))
    y = x[:, :5].sum(axis=1) + np.sin(x[:, 5] * 3)
    lines = [",".join(f"{value:.5f}" for value in (*row, answer)) for row, answer in zip(x, y, strict=True)]
    (folder / "rows.csv").write_text("\n".join([",".join([*NAMES, "y"]), *lines]) + "\n")
    rules = "\n".join(f'{name} = {{ type = "double", min = -100, max = 100 }}' for name in NAMES)
    (folder / "mlops.toml").write_text(PROJECT.format(rules=rules, features=json.dumps(NAMES)))
    (folder / "train.py").write_text(TRAIN)


def _export(box: Box, folder: Path, wheels: Path | None) -> tuple[dict[str, int], Path]:
    """(bytes by kind of bundle, the full bundle for this machine)."""
    cache = WheelCache(wheels) if wheels else None
    here, arm = find_target("linux-x86_64-cp311"), find_target("linux-arm64-cp311")
    wanted = {
        "full, x86-64": ExportRequest(here),
        "full, x86-64, --slim": ExportRequest(here, slim=True),
        "full, arm64": ExportRequest(arm),
        "full, arm64, --slim": ExportRequest(arm, slim=True),
        "model only": ExportRequest(here, model_only=True),
    }
    files = {name: folder / f"{number}.mbx" for number, name in enumerate(wanted)}
    sizes = {
        name: export_bundle(box, "bench", request, out=files[name], wheels=cache).sizes["whole"]
        for name, request in wanted.items()
    }
    return sizes, files["full, x86-64"]


def _bento(model: Path, folder: Path) -> dict[str, float]:
    """The service of BentoML's documentation around the same graph, under ``bentoml serve``: one worker."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ, "BENCH_MODEL": str(model), "BENTOML_HOME": str(folder / "bentoml"), "PYTHONPATH": str(ROOT),
        "BENTOML_DO_NOT_TRACK": "True", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "bentoml", "serve", "benchmarks.serving.apps.bento_default:Plain"]
    began = time.monotonic()
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)], cwd=ROOT, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        connection = _first_answer(port, process)
        facts = {"cold_start_s": time.monotonic() - began}
        times = sorted([_ask(connection) for _ in range(WARM_UP + REQUESTS)][WARM_UP:])
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        used = [member.memory_full_info() for member in family]
        return facts | {
            "p50_ms": times[len(times) // 2] * 1000, "p99_ms": times[len(times) * 99 // 100] * 1000,
            "rss_bytes": sum(item.rss for item in used), "pss_bytes": sum(item.pss for item in used),
            "processes": len(family),
        }  # fmt: skip
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def _first_answer(port: int, process: subprocess.Popen[bytes]) -> http.client.HTTPConnection:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            _ask(connection)
            return connection
        except (OSError, RuntimeError):
            connection.close()
            time.sleep(0.01)
    raise RuntimeError("the Bento does not answer")


def _ask(connection: http.client.HTTPConnection) -> float:
    body = json.dumps({"rows": [make_row(1)]})
    began = time.perf_counter()
    connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    if response.status != 200:
        raise RuntimeError(f"HTTP {response.status}")
    return time.perf_counter() - began


def _installed_bytes(names: Sequence[str]) -> tuple[int, int]:
    """(bytes, count) of installed packages: these and what they need, as their metadata say."""
    seen: dict[str, int] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in seen:
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        files = (Path(str(found.locate_file(item))) for item in found.files or ())
        seen[name] = sum(file.stat().st_size for file in files if file.is_file())
        for text in found.requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(needed.name)
    return sum(seen.values()), len(seen)


def _text(
    sizes: dict[str, int],
    devices: list[Simulation],
    bentos: list[dict[str, float]],
    machine: str,
    rounds: int,
) -> str:
    bento_bytes, bento_packages = _installed_bytes(["bentoml", "numpy", "onnxruntime"])
    good = all(device.is_good and device.isolated for device in devices)

    def both(name: str, device: str, bento: str, scale: float, form: str) -> list[str]:
        one = [float(getattr(item, device)) * scale for item in devices]
        other = [item[bento] * scale for item in bentos]
        return [
            name,
            *(f"{statistics.median(values):{form}} ({min(values):{form}})" for values in (one, other)),
        ]

    installed = f"{devices[0].installed_bytes / 1e6:.0f}" if devices[0].installed_bytes else "-"
    rows = [
        ["installed, MB", f"{installed}, 2 packages and the agent", f"{bento_bytes / 1e6:.0f}, {bento_packages} packages"],
        both("server's start to the first prediction, s", "server_start_s", "cold_start_s", 1, ".2f"),
        both("the same with the agent, which tries the golden rows beside, s", "cold_start_s", "cold_start_s", 1, ".2f"),
        both("RSS after 1,000 requests, MB", "server_rss_bytes", "rss_bytes", 1e-6, ".1f"),
        both("PSS, MB", "server_pss_bytes", "pss_bytes", 1e-6, ".1f"),
        both("p50, one row, ms", "p50_ms", "p50_ms", 1, ".2f"),
        both("p99, one row, ms", "p99_ms", "p99_ms", 1, ".2f"),
    ]  # fmt: skip
    agent = statistics.median(float(item.agent_rss_bytes or 0) for item in devices) / 1e6
    install = statistics.median(float(item.install_s or 0) for item in devices)
    return "\n".join(
        [
            "# Edge: a bundle on a device, beside the same model as a Bento", "",
            "100 boosted trees of depth 3 on 30 numbers, as `packed.onnx`; one row as JSON, one connection, keep-alive, "
            f"1,000 requests. {rounds} rounds in turns: median, and the best in brackets.", "",
            "| bundle | MB |", "| --- | --- |", *(f"| {name} | {size / 1e6:.2f} |" for name, size in sizes.items()), "",
            table(["", "bundle", f"Bento, {bentos[0]['processes']:.0f} processes"], rows), "",
            f"The bundle: `mlops-box edge simulate`, in a network namespace of its own, contract, log and metrics on; "
            f"every round installed, confirmed and without a fault: {'yes' if good else 'NO'}. Installing took {install:.1f} s; "
            f"beside the server runs the agent, {agent:.0f} MB. The Bento: `bentoml serve` of a service as its documentation would "
            "write it, without contract or log, one worker; its processes together.", "",
            f"{datetime.now(UTC):%Y-%m-%d}. {machine}", "",
            f"Command: `python benchmarks/edge/run.py --rounds {rounds}`", "",
        ]
    )  # fmt: skip


if __name__ == "__main__":
    main()
