"""From the command to the first prediction: ``python benchmarks/startup/run.py``."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "services")]

from benchmarks.machine import describe, table  # noqa: E402
from benchmarks.serving.model import MODEL, build_onnx, fill_box, make_row  # noqa: E402
from mlops_box.serving.address import ServerAddress  # noqa: E402

RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=15)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--note", default="", help="About the machine, for the results.")
    options = parser.parse_args()
    machine = describe()
    with tempfile.TemporaryDirectory(prefix="startup-") as folder:
        home, row = Path(folder) / "home", make_row(1)
        fill_box(home, build_onnx(1), row)
        _start(home, row)  # writes the byte code
        found = [_start(home, row) for _ in range(options.starts)]
    names = [
        "wall s to the first prediction",
        "processor s used by then",
        "resident MiB then",
        "wall s of the first page of BentoML's",
    ]
    rows = [
        [name, f"{statistics.median(values):.2f}", f"{min(values):.2f}", f"{max(values):.2f}"]
        for name, values in zip(names, zip(*found, strict=True), strict=True)
    ]
    text = "\n".join(
        [
            "# Start of a server", "",
            f"`python -m mlops_box_services` in a box with one model, {options.starts} times: from the start of the process to the "
            "answer of a prediction. BentoML is imported when somebody asks for one of its pages.", "",
            table(["what", "median", "least", "most"], rows), "",
            f"{datetime.now(UTC):%Y-%m-%d}. {machine} {options.note}".rstrip(), "",
            f"Command: `python benchmarks/startup/run.py --starts {options.starts}`", "",
        ]
    )  # fmt: skip
    options.output.write_text(text)
    print(text)


def _start(home: Path, row: dict[str, float]) -> tuple[float, float, float, float]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "services")])
    command = [sys.executable, "-m", "mlops_box_services", "--home", str(home), "--port", "0"]
    started_s = time.monotonic()
    with (home / "logs" / "server.log").open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, "PYTHONPATH": paths}
        )
    try:
        while (address := ServerAddress.read(home / "run")) is None or address.pid != process.pid:
            if process.poll() is not None:
                raise SystemExit("the server did not start")
            time.sleep(0.002)
        _call(address, "POST", f"/models/{MODEL}/predict", json.dumps({"rows": [row]}))
        wall_s = time.monotonic() - started_s
        told = psutil.Process(process.pid)
        cpu_s, resident = sum(told.cpu_times()[:2]), told.memory_info().rss / 2**20
        started_s = time.monotonic()
        _call(address, "GET", "/", None)
        return wall_s, cpu_s, resident, time.monotonic() - started_s
    finally:
        process.terminate()
        process.wait(30)


def _call(address: ServerAddress, method: str, path: str, body: str | None) -> None:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=30)
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    if response.status != 200:
        raise SystemExit(f"{path} answered {response.status}: {content[:200]!r}")


if __name__ == "__main__":
    main()
