"""mlops-box beside whylogs on pandas, Evidently and NannyML, each in a Python of its own, turn by turn.

    python -m benchmarks.monitoring.compare [--rows 100000] [--rounds 3] [--folder FOLDER]

Environments are made in the folder (a temporary one where none is named) unless they are there. Writes COMPARED.md beside
this file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import pyarrow.parquet as pq

from benchmarks.machine import describe, table
from benchmarks.monitoring.run import mixed

HERE = Path(__file__).parent
# Evidently does not import with pandas 3; NannyML misses statsmodels; whylogs does not work with numpy 2, which newer pyarrow needs.
NEEDS = {
    "whylogs": ("whylogs==1.6.4", "pandas<3", "pyarrow<21", "numpy<2"),
    "evidently": ("evidently==0.7.23", "pandas<3", "pyarrow"),
    "nannyml": ("nannyml==0.13.1", "statsmodels", "pyarrow"),
}
DOES = {
    "mlops-box": "whylogs profile from Arrow, reference, counts on its edges, drift of all columns; 20 columns",
    "whylogs": "`why.log(pandas)`: the profile only; 20 columns",
    "evidently": "`DataDriftPreset`; 18 columns",
    "nannyml": "`UnivariateDriftCalculator`, Jensen-Shannon; 18 columns",
}
Runs = list[dict[str, float]]


def environment(folder: Path, tool: str) -> Path | str:
    """The tool's Python, or why it could not be made."""
    python = folder / f"v-{tool}" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
        made = subprocess.run(
            [str(python), "-m", "pip", "install", "-q", *NEEDS[tool]], capture_output=True, text=True
        )
        if made.returncode:
            return made.stderr.strip().splitlines()[-1]
    return python


def measure(python: Path, tool: str, *paths: Path, limit_s: float) -> dict[str, float] | str:
    try:
        done = subprocess.run(
            [str(python), str(HERE / "tools.py"), tool, *map(str, paths)],
            capture_output=True, text=True, timeout=limit_s, env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"more than {limit_s:.0f} s"
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _line(tool: str, runs: Runs, problem: str) -> list[str]:
    if not runs:
        return [tool, DOES[tool], f"not measured: {problem}", "", "", ""]
    cpu = sorted(run["cpu_s"] for run in runs)
    return [
        tool, DOES[tool], f"{median(cpu):.2f}", f"{cpu[0]:.2f} to {cpu[-1]:.2f}",
        f"{median(run['wall_s'] for run in runs):.2f}", f"{median(run['peak_mb'] for run in runs):.0f}",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=120.0, help="Seconds that one run may take.")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    machine = describe()
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made)
        pythons: dict[str, Path | str] = {"mlops-box": Path(sys.executable)}
        pythons |= {tool: environment(folder, tool) for tool in NEEDS}
        window, reference = Path(made) / "window.parquet", Path(made) / "reference.parquet"
        pq.write_table(mixed(options.rows, seed=1), window)
        pq.write_table(mixed(options.rows, seed=0), reference)
        runs: dict[str, Runs] = {tool: [] for tool in pythons}
        problems = {tool: python for tool, python in pythons.items() if isinstance(python, str)}
        for _ in range(options.rounds):
            for tool, python in pythons.items():
                if isinstance(python, str):
                    continue
                found = measure(python, tool, window, reference, limit_s=options.limit)
                if isinstance(found, str):
                    problems[tool] = found
                else:
                    runs[tool].append(found)
    headers = ["tool", "what it does", "CPU s, median", "CPU s, range", "wall s, median", "peak RSS MB"]
    lines = [
        "# Beside whylogs, Evidently and NannyML", "",
        f"A window of {options.rows:,} rows and 20 columns against a reference of as many; {options.rounds} rounds, tools turn by "
        "turn, each run a process and an environment of its own; imports and reading Parquet are not counted. Evidently and "
        "NannyML leave out a time and a text of a million values. The tools do not compute the same: what each did is said.", "",
        table(headers, [_line(tool, runs[tool], problems.get(tool, "")) for tool in pythons]), "",
        f"Versions: {', '.join(' with '.join((need[0], ' '.join(need[1:]))) for need in NEEDS.values())}.", "",
        f"Machine: {machine}", "",
        f"Command: `python -m benchmarks.monitoring.compare --rows {options.rows} --rounds {options.rounds}`", "",
    ]  # fmt: skip
    (HERE / "COMPARED.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
