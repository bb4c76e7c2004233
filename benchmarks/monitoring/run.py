"""What watching costs and what it is worth: profile, counts, checks; false alarms and power of the one fixed default.

    python -m benchmarks.monitoring.run [--rows 1000000] [--runs 200]

Each time is the best of two. Beside ``why.log`` on pandas where pandas is installed (it is no dependency). Writes
RESULTS.md beside this file.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.machine import cpu_s, describe, table

HERE = Path(__file__).parent


def mixed(rows: int, seed: int = 0) -> pa.Table:
    """8 doubles (1 % missing), 5 integers (5 to a thousand million values), 4 texts (5 to a million), 2 booleans, 1 time."""
    draw = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        f"d{place}": pa.array(draw.normal(size=rows), mask=draw.random(rows) < 0.01) for place in range(8)
    }
    for many in (5, 100, 1000, 100_000, 10**9):
        columns[f"i{many}"] = draw.integers(0, many, rows)
    for many in (5, 50, 10_000, 1_000_000):
        columns[f"t{many}"] = np.char.add("v", draw.integers(0, many, rows).astype(str))
    columns["b0"], columns["b1"] = draw.random(rows) < 0.5, draw.random(rows) < 0.1
    columns["at"] = np.datetime64("2026-01-01", "us") + np.arange(rows).astype("timedelta64[s]")
    return pa.table(columns)


def stream(rows: int, draw: np.random.Generator, shift: float = 0.0) -> pa.Table:
    """Twelve columns of many kinds; ``shift`` moves one, in its standard deviations."""
    return pa.table(
        {
            "normal": draw.normal(shift, 1, rows),
            "heavy": draw.standard_t(2, rows),
            "waiting": draw.exponential(1, rows),
            "few": draw.integers(0, 5, rows),
            "count": draw.poisson(3, rows),
            "hour": draw.integers(0, 24, rows),
            "rare": pa.array(draw.random(rows) < 0.05),
            "kind": pa.array(draw.choice(list("abc"), rows, p=[0.9, 0.09, 0.01])),
            "zipf": pa.array([f"z{value}" for value in draw.zipf(1.5, rows)]),
            "many": pa.array([f"m{value}" for value in draw.integers(0, 300, rows)]),
            "id": pa.array([f"i{value}" for value in draw.integers(0, 10**9, rows)]),
            "gaps": pa.array(draw.normal(size=rows), mask=draw.random(rows) < 0.1),
        }
    )


def best_of_two(name: str, function: Callable[[], Any], rows: list[list[str]]) -> Any:
    times = []
    for _ in range(2):
        start, before = time.perf_counter(), cpu_s()
        result = function()
        times.append((cpu_s() - before, time.perf_counter() - start))
    processor, wall = min(times)
    rows.append([name, f"{wall:.3f}", f"{processor:.3f}"])
    return result


def costs(rows: int) -> list[list[str]]:
    from mlops_box.monitoring import DriftDetector
    from mlops_box.monitoring.count_tables import count_window
    from mlops_box.monitoring.profile import merge_profiles, profile_table
    from mlops_box.monitoring.reference_tables import reference_of

    data, found = mixed(rows), []
    profile_table(data.slice(0, 1000))  # the import of whylogs is not what is measured
    profile = best_of_two(
        f"profile of {rows:,} x 20 (whylogs from Arrow)", lambda: profile_table(data), found
    )
    reference = best_of_two("reference: edges, values, counts", lambda: reference_of(data), found)
    counts = best_of_two(
        "window counts on the reference's edges", lambda: count_window(reference, data), found
    )
    detector = DriftDetector(reference)
    best_of_two("check of 20 columns from counts", lambda: detector.check_counts(counts), found)
    best_of_two("check of 20 columns from a profile", lambda: detector.check_profile(profile), found)
    best_of_two("merge of two profiles", lambda: merge_profiles([profile, profile]), found)
    found.append(["size of the profile", f"{len(profile) / 1000:.0f} kB", ""])
    found.append(["size of the reference", f"{len(reference.to_bytes()) / 1000:.0f} kB", ""])
    if importlib.util.find_spec("pandas"):
        import whylogs

        frame = data.to_pandas()
        best_of_two("whylogs' own why.log on pandas", lambda: whylogs.log(frame), found)
    return found


def verdicts(runs: int) -> list[list[str]]:
    """Share of windows called drift, by rows of the window and shift of one of twelve columns."""
    from mlops_box.monitoring import DriftDetector

    draw = np.random.default_rng(1)
    lines = []
    for rows in (200, 1000, 5000):
        cells = [f"{rows:,}"]
        for shift in (0.0, 0.1, 0.25, 0.5, 1.0):
            hits = [
                DriftDetector(stream(2000, draw)).check(stream(rows, draw, shift)).outcome == "drift"
                for _ in range(runs)
            ]
            cells.append(f"{np.mean(hits):.3f}")
        lines.append(cells)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=200)
    options = parser.parse_args()
    machine = describe()
    lines = [
        "# Watching: costs and verdicts", "",
        table(["step", "wall s", "CPU s"], costs(options.rows)), "",
        "## Share of windows called drift", "",
        "One fixed default (fdr 0.01, effect 0.1); reference of 2,000 rows, 12 columns of many kinds, one of them shifted by "
        f"so many standard deviations; {options.runs} independent pairs a cell. A shift of 0.1 has a KS distance of 0.04, below "
        "the declared effect: it is not meant to alarm.", "",
        table(["rows", "no shift", "0.1 sd", "0.25 sd", "0.5 sd", "1 sd"], verdicts(options.runs)), "",
        f"Machine: {machine}", "", "Command: `python -m benchmarks.monitoring.run`", "",
    ]  # fmt: skip
    (HERE / "RESULTS.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
