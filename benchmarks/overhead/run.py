"""What the box costs over a plain training script, on the same data, estimator and split.

    python -m benchmarks.overhead.run --hours hour.csv [--rounds 3]

Each round runs, in turn, as processes of their own: (a) a plain script: read, split, fit, print the metric;
(b) `mlops-box train --direct`: contract, snapshot, split, fit, ONNX export with parity, evaluation, importance, card,
reference, registration; (c) `mlops-box train`: the same as a Prefect flow with a temporary local server.
Writes RESULTS.md beside this file.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe, table

EXAMPLE = Path(__file__).parents[2] / "examples" / "bike_rentals"
PLAIN = """
import duckdb, numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import mean_absolute_error
names = ["season", "hr", "holiday", "weekday", "workingday", "weathersit", "temp", "atemp", "hum", "windspeed"]
data = duckdb.sql("select * from read_csv('data/hour.csv') order by dteday, hr").fetchnumpy()
x = np.column_stack([np.asarray(data[name], dtype="float32") for name in names])
y = np.asarray(data["cnt"], dtype=float)
cut = int(len(y) * 0.95)
model = HistGradientBoostingRegressor(max_iter=200, learning_rate=0.08, random_state=0).fit(x[:cut], y[:cut])
print(mean_absolute_error(y[cut:], model.predict(x[cut:])))
"""


def timed(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[float, float]:
    """(wall seconds, processor seconds of the process and all it started)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    wall_s = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=Path, required=True, help="hour.csv of the UCI bike sharing set")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    box = [sys.executable, "-m", "mlops_box"]
    ways = {
        "plain script": [sys.executable, "-c", PLAIN],
        "mlops-box train --direct": [*box, "train", "--direct"],
        "mlops-box train (Prefect flow)": [*box, "train"],
    }
    machine = describe()
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as root:
        project = Path(root) / "bike"
        shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("data"))
        (project / "data").mkdir()
        shutil.copy(options.hours, project / "data" / "hour.csv")
        for _ in range(options.rounds):
            for name, command in ways.items():
                # A home of its own each time: the first model, no champion to compare with.
                home = Path(tempfile.mkdtemp(dir=root))
                results[name].append(timed(command, project, {**os.environ, "MLOPS_BOX_HOME": str(home)}))
    plain_cpu = statistics.median(cpu for _, cpu in results["plain script"])
    rows = []
    for name, runs in results.items():
        wall, cpu = statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)
        rows.append([name, f"{wall:.1f}", f"{cpu:.1f}", f"{cpu / plain_cpu:.1f}"])
    lines = [
        "# The box's overhead over a plain training script", "",
        f"17,379 rows of hour.csv, gradient boosting; medians of {options.rounds} interleaved rounds, a fresh home each "
        "(so each flow also makes Prefect's database, which a home does once).", "",
        table(["way", "wall s", "CPU s", "CPU ratio"], rows), "",
        f"Machine: {machine}", "", "Command: `python -m benchmarks.overhead.run --hours hour.csv`", "",
    ]  # fmt: skip
    (Path(__file__).parent / "RESULTS.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
