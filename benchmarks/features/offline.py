"""The point-in-time join against the query one would write by hand, and against Feast's local store.

``python -m benchmarks.features.offline --feast VENV/bin/python [--rows 1000000]``

Each of the ten views has as many observations as there are entity rows, of 100,000 entities over 30 days, two features
and a ttl of 7 days; the observations have the form that `compute.write_observations` gives them, punctual ones. All read the same
Parquet files and end with one Arrow table (Feast: a data frame) of all rows. By hand is a chain of ten ASOF joins in
DuckDB; it may return the rows in any order, ours returns them in theirs. Contenders take turns;
Feast runs in an environment of its own, with the time of its retrieval alone,
and is stopped after 240 s (processor time: nan).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.machine import cpu_s, describe, table
from mlops_box.features.join import point_in_time_join
from mlops_box.features.view import FeatureView

VIEWS = 10
ENTITIES = 100_000
SPAN_US = 30 * 86_400_000_000
START_US = 1_767_225_600_000_000
TTL = timedelta(days=7)
STAMP = pa.timestamp("us")
# Feast's local offline stores: `file` is its default (dask), `duckdb` the quicker one.
STORES = ("duckdb", "file")
LIMIT_S = 240


def main() -> None:
    """Measure, print, and write a page where ``--out`` says."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument(
        "--feast", help="The Python of an environment with Feast; without it Feast is left out."
    )
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    machine = describe()
    with tempfile.TemporaryDirectory(prefix="offline-") as folder:
        times = _measure(Path(folder), given.rows, given.rounds, given.feast)
    text = _report(machine, times, given.rows)
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    print(text)


Times = dict[str, list[tuple[float, float]]]


def _measure(folder: Path, rows: int, rounds: int, feast: str | None) -> Times:
    """Wall and CPU seconds of each contender, by round."""
    _write(folder, rows)
    scratch = folder / "scratch"
    scratch.mkdir()
    contenders: dict[str, Callable[[], pa.Table]] = {
        "by hand": lambda: _by_hand(folder),
        "mlops-box": lambda: _ours(folder, scratch),
    }
    _agree(contenders["by hand"](), contenders["mlops-box"]())
    times: Times = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            wall, used = time.perf_counter(), cpu_s()
            run()
            times[name].append((time.perf_counter() - wall, cpu_s() - used))
        for store in STORES if feast is not None else ():
            known = times.setdefault(f"Feast, {store} store", [])
            # Who took longer than the limit once is not asked again.
            if all(wall < LIMIT_S for wall, _ in known):
                known.append(_feast(folder, str(feast), store))
    return times


def _write(folder: Path, rows: int) -> None:
    random = np.random.default_rng(0)

    def moments() -> np.ndarray:
        return START_US + random.integers(0, SPAN_US, rows)

    entities = pa.table(
        {"card_id": random.integers(0, ENTITIES, rows), "asked_at": pa.array(moments(), STAMP)}
    )
    pq.write_table(entities, folder / "entities.parquet")
    for number in range(VIEWS):
        key, at = random.integers(0, ENTITIES, rows), moments()
        order = np.lexsort((at, key))
        key, at = key[order], at[order]
        # One observation an entity and time, as a view has.
        first = np.r_[True, (np.diff(key) != 0) | (np.diff(at) != 0)]
        stamps = pa.array(at[first], STAMP)
        history = pa.table(
            {
                "card_id": key[first], "time": stamps, "known": stamps, "since": stamps,
                "spend": random.uniform(0, 100, int(first.sum())), "n": random.integers(0, 9, int(first.sum())),
            }
        )  # fmt: skip
        pq.write_table(history, folder / f"view{number}.parquet")


def _ours(folder: Path, scratch: Path) -> pa.Table:
    views = [
        FeatureView(
            f"view{number}", [folder / f"view{number}.parquet"], ("card_id",), "time",
            known="known", since="since", ttl=TTL, distinct=True,
        )
        for number in range(VIEWS)
    ]  # fmt: skip
    return point_in_time_join(
        pq.read_table(folder / "entities.parquet"),
        views,
        time="asked_at",
        scratch=scratch,
        memory_limit="8GB",
    )


def _by_hand(folder: Path) -> pa.Table:
    columns, joins = [], []
    for number in range(VIEWS):
        view = f"view{number}"
        for feature in ("spend", "n"):
            fresh = f"e.asked_at - {view}.time <= INTERVAL 7 DAYS"
            columns.append(f"CASE WHEN {fresh} THEN {view}.{feature} END AS {view}__{feature}")
        joins.append(
            f"ASOF LEFT JOIN '{folder}/{view}.parquet' AS {view} "
            f"ON e.card_id = {view}.card_id AND e.asked_at >= {view}.time"
        )
    with duckdb.connect(config={"memory_limit": "8GB"}) as connection:
        return connection.sql(
            f"SELECT e.*, {', '.join(columns)} FROM '{folder}/entities.parquet' AS e {' '.join(joins)}"
        ).to_arrow_table()


def _agree(one: pa.Table, other: pa.Table) -> None:
    """Both give the same rows: nothing is compared that computes something else."""
    keys = [(name, "ascending") for name in one.column_names]
    if not one.sort_by(keys).equals(other.select(one.column_names).sort_by(keys)):
        raise AssertionError("the contenders disagree")


def _feast(folder: Path, python: str, store: str) -> tuple[float, float]:
    """The retrieval alone: starting Python and applying the definitions are not in it. What takes longer than the limit
    counts as the limit."""
    script = Path(__file__).with_name("feast_join.py")
    command = [python, str(script), str(folder), str(VIEWS), store]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    except subprocess.TimeoutExpired:
        return float(LIMIT_S), math.nan
    told = json.loads(done.stdout.strip().splitlines()[-1])
    return told["wall_s"], told["cpu_s"]


def _report(machine: str, times: Times, rows: int) -> str:
    about = (__doc__ or "").split("\n\n", 2)[2]
    return "\n".join(["# Offline features\n", f"{machine}\n", about, _table(times, rows)])


def _table(times: Times, rows: int) -> str:
    wall = {name: statistics.median(one[0] for one in found) for name, found in times.items()}
    used = {name: statistics.median(one[1] for one in found) for name, found in times.items()}
    lines = [
        [name, f"{wall[name]:.2f}", f"{used[name]:.2f}", f"{wall[name] / wall['by hand']:.2f}",
         f"{used[name] / used['by hand']:.2f}", f"{wall[name] / wall['mlops-box']:.1f}"]
        for name in times
    ]  # fmt: skip
    headers = ["", "wall s", "CPU s", "wall / by hand", "CPU / by hand", "wall / mlops-box"]
    return f"{rows:,} entity rows x {VIEWS} views, medians of {len(times['mlops-box'])} rounds:\n\n{table(headers, lines)}\n"


if __name__ == "__main__":
    main()
