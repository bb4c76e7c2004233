"""The gate and the profile on one million rows of twenty columns.

    python -m benchmarks.data.run [--rows 1000000]

Rows with eight kinds of dirt are written to Parquet; the gate splits them and mints a snapshot; the good rows are
profiled (whylogs) and counted on reference edges. Writes RESULTS.md beside this file.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.machine import cpu_s, describe, table

HERE = Path(__file__).parent


def make(rows: int, seed: int = 1) -> pa.Table:
    """8 doubles, 5 integers, 4 texts (5, 50, 10,000 values and all different), 2 booleans, 1 timestamp; 1.1 % dirty."""
    draw = np.random.default_rng(seed)
    columns: dict[str, Any] = {"id": np.arange(rows)}
    for number in range(8):
        columns[f"d{number}"] = draw.normal(50, 10, rows).clip(0, 100)
    for number in range(4):
        columns[f"i{number}"] = draw.integers(0, 100, rows)
    for name, many in (("t5", 5), ("t50", 50), ("t10k", 10_000)):
        columns[name] = np.char.add("v", draw.integers(0, many, rows).astype(str))
    columns["tall"] = np.char.add("u", np.arange(rows).astype(str))
    columns["b0"], columns["b1"] = draw.random(rows) < 0.5, draw.random(rows) < 0.1
    columns["at"] = np.datetime64("2026-01-01", "us") + np.arange(rows).astype("timedelta64[s]")
    dirt = draw.permutation(rows)[: rows // 90].reshape(-1)
    parts = np.array_split(dirt, 8)
    columns["d0"][parts[0]] = np.nan
    columns["d1"][parts[1]] = np.inf
    columns["d2"][parts[2]] = -5
    columns["d3"][parts[3]] = 1000
    columns["i0"][parts[4]] = -1
    columns["t5"][parts[5]] = "zz"
    columns["i1"][parts[6]] = 1000
    columns["id"][parts[7]] = columns["id"][(parts[7] + 1) % rows]
    return pa.table(columns)


_NUMBERS = "\n".join(
    [f'd{n} = {{ type = "double", min = 0, max = 100 }}' for n in range(8)]
    + [f'i{n} = {{ type = "bigint", min = 0, max = 99 }}' for n in range(4)]
)
DECLARATION = f"""
[project]
name = "million"
[data]
source = "million.parquet"
key = ["id"]
time = "at"
[data.contract]
id = {{ type = "bigint" }}
{_NUMBERS}
t5 = {{ type = "varchar", in = ["v0", "v1", "v2", "v3", "v4"] }}
t50 = {{ type = "varchar", regex = "v[0-9]+" }}
t10k = {{ type = "varchar" }}
tall = {{ type = "varchar" }}
b0 = {{ type = "boolean" }}
b1 = {{ type = "boolean" }}
at = {{ type = "timestamp" }}
quarantine = "5%"
[model]
task = "regression"
target = "d7"
features = ["d0", "d1", "i0", "t5"]
"""


def measured(name: str, function: Callable[[], Any], rows: list[list[str]]) -> Any:
    start, before = time.perf_counter(), cpu_s()
    result = function()
    rows.append([name, f"{time.perf_counter() - start:.1f}", f"{cpu_s() - before:.1f}"])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    from mlops_box.box import Box
    from mlops_box.monitoring.profile import profile_table
    from mlops_box.operations.check import take_snapshot
    from mlops_box.project import load_project

    machine, rows = describe(), []
    with tempfile.TemporaryDirectory() as root:
        project = Path(root) / "million"
        project.mkdir()
        pq.write_table(make(options.rows), project / "million.parquet")
        (project / "mlops.toml").write_text(DECLARATION, encoding="utf-8")
        with Box.open(Path(root) / "home") as box:
            declared = load_project(project)
            snapshot = measured(
                "gate: contract, quarantine, snapshot", lambda: take_snapshot(box, declared), rows
            )
            good = box.snapshots.table(snapshot)
            profile_table(good.slice(0, 1000))  # the import of whylogs is not what is measured
            measured("profile of the good rows (whylogs)", lambda: profile_table(good), rows)
    lines = [
        "# Gate and profile", "",
        f"{options.rows:,} rows x {good.num_columns} columns from Parquet; {snapshot.verdict.rows_quarantined:,} rows quarantined.", "",
        table(["step", "wall s", "CPU s"], rows), "", f"Machine: {machine}", "", "Command: `python -m benchmarks.data.run`", "",
    ]  # fmt: skip
    (HERE / "RESULTS.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
