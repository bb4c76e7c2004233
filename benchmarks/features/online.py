"""The online store measured: ways to keep an entity's features, lookups, pushes, and a server with everything on.

Run from the repository: ``python -m benchmarks.features.online [--out FILE]``. One machine, one process a server; the load
client (wrk) runs on the same cores.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil
import pysqlite3.dbapi2 as sqlite

from benchmarks.machine import describe, table
from benchmarks.serving import model as bench
from mlops_box.box import Box
from mlops_box.clock import SystemClock
from mlops_box.data.values import Column
from mlops_box.features.definition import Definition, FeatureColumn, Source, digest_of_view
from mlops_box.features.lookup import FeatureLookup
from mlops_box.features.online import Observation, OnlineStore, key_text
from mlops_box.models.golden import Golden
from mlops_box.models.values import GOLDEN_FILE, PACKED_FILE, Feature, Signature, VersionDraft
from mlops_box.operations.prefect_env import free_port
from mlops_box.project import ColumnRule, LoadedProject, parse_project

FEATURES = 20
GIVEN = 10
ENTITIES = 100_000
MODEL = "bench"
# What is measured of a lookup: p50 and p99 of this many, in microseconds.
ROUNDS = 20_000
SOURCE = Source(
    "tx", "none.csv", None, None, "happened_at", None,
    (
        Column("card_id", "bigint"), Column("tx_id", "bigint"), Column("happened_at", "timestamp"),
        Column("amount", "double"),
    ),
)  # fmt: skip
# 20 features of four windows: what a push computes anew, and a prediction looks up.
WINDOWS = {"10m": "10 minutes", "1h": "1 hour", "6h": "6 hours", "1d": "1 day"}
AGGREGATES = ("count", "sum", "avg", "min", "max")


def definition() -> Definition:
    """A view of 20 windowed aggregates over an entity's last day."""
    names = [(f"{how}_{span}", f"{how}(amount) over w_{span}") for span in WINDOWS for how in AGGREGATES]
    windows = ", ".join(
        f"w_{span} as (partition by card_id order by happened_at range between interval {interval} preceding and current row)"
        for span, interval in WINDOWS.items()
    )
    sql = f"select card_id, happened_at, {', '.join(f'cast({value} as double) as {name}' for name, value in names)} from tx window {windows}"
    columns = tuple(
        FeatureColumn(
            name,
            "double",
            timedelta(days=2),
            0.0,
            ColumnRule.model_validate({"type": "double", "null": True}),
        )
        for name, _ in names
    )
    draft = Definition(
        "bench", "activity", 0, "", (Column("card_id", "bigint"),), "happened_at", timedelta(days=2),
        timedelta(days=1), columns, sql, (SOURCE,),
    )  # fmt: skip
    return Definition(**{**vars(draft), "digest": digest_of_view(draft)})


def fill(store: OnlineStore, view: Definition) -> None:
    """An observation of a moment ago for every entity."""
    now_us = time.time_ns() // 1000
    rng = np.random.default_rng(0)
    number = store.view_number(view.digest, view.name)
    values = rng.normal(size=(ENTITIES, FEATURES)).tolist()
    with store.write() as tx:
        store.put(
            tx, number,
            ((key_text([card]), Observation(now_us - card, now_us - card, now_us - card, row)) for card, row in enumerate(values)),
        )  # fmt: skip


def quantiles(samples_ns: Sequence[int]) -> tuple[float, float]:
    """p50 and p99 in microseconds."""
    ordered = sorted(samples_ns)
    return ordered[len(ordered) // 2] / 1e3, ordered[int(len(ordered) * 0.99)] / 1e3


def timed(ask: Callable[[], object], rounds: int) -> tuple[float, float]:
    samples = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        ask()
        samples.append(time.perf_counter_ns() - start)
    return quantiles(samples)


def formats(folder: Path) -> list[list[str]]:
    """The same 20 numbers of every entity kept in three ways, read by a prepared statement."""
    connection = sqlite.connect(str(folder / "formats.db"), isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    pack = struct.Struct(f"<{FEATURES}d")
    names = ", ".join(f"f{index}" for index in range(FEATURES))
    connection.execute(f"CREATE TABLE wide (entity TEXT PRIMARY KEY, {names}) WITHOUT ROWID")
    for kind in ("json", "doubles"):
        connection.execute(f"CREATE TABLE {kind} (entity TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID")
    values = np.random.default_rng(1).normal(size=(ENTITIES, FEATURES)).tolist()
    connection.execute("BEGIN")
    marks = ", ".join("?" * (FEATURES + 1))
    connection.executemany(
        f"INSERT INTO wide VALUES ({marks})", ((str(n), *row) for n, row in enumerate(values))
    )
    connection.executemany(
        "INSERT INTO json VALUES (?, ?)", ((str(n), orjson.dumps(row)) for n, row in enumerate(values))
    )
    connection.executemany(
        "INSERT INTO doubles VALUES (?, ?)", ((str(n), pack.pack(*row)) for n, row in enumerate(values))
    )
    connection.execute("COMMIT")
    known = {str(n): row for n, row in enumerate(values)}

    def one(sql: str, read: Callable[[Any], object]) -> Callable[[], object]:
        return lambda: read(connection.execute(sql, (str(random.randrange(ENTITIES)),)).fetchone())

    def cached() -> object:
        connection.execute("PRAGMA data_version").fetchone()
        return known[str(random.randrange(ENTITIES))]

    ways: dict[str, Callable[[], object]] = {
        "20 columns": one("SELECT * FROM wide WHERE entity = ?", lambda row: row),
        "one row of JSON": one("SELECT v FROM json WHERE entity = ?", lambda row: orjson.loads(row[0])),
        "one row of doubles": one("SELECT v FROM doubles WHERE entity = ?", lambda row: pack.unpack(row[0])),
        "in memory, after PRAGMA data_version": cached,
    }
    rows = []
    for name, ask in ways.items():
        timed(ask, 2_000)
        rows.append([name, *(f"{value:.1f}" for value in timed(ask, ROUNDS))])
    connection.close()
    return rows


def lookups(folder: Path) -> list[list[str]]:
    """Through :class:`FeatureLookup`, as a server does: entity checked, store asked for changes, defaults and ages applied."""
    store, view = OnlineStore(folder), definition()
    fill(store, view)
    lookup = FeatureLookup(store, {view.name: view}, SystemClock())

    def one() -> object:
        entity = {"card_id": random.randrange(ENTITIES)}
        lookup.problems(entity)
        return lookup.look_up([entity], [time.time_ns() // 1000])

    def same() -> object:
        return lookup.look_up([{"card_id": 7}], [time.time_ns() // 1000])

    def batch() -> object:
        return lookup.look_up(
            [{"card_id": random.randrange(20_000)} for _ in range(100)], [time.time_ns() // 1000] * 100
        )

    rows = [["one entity of 100,000, first asked for", *(f"{value:.1f}" for value in timed(one, 5_000))]]
    timed(one, 30_000)
    rows.append(
        ["one entity of 100,000, half of them in memory", *(f"{value:.1f}" for value in timed(one, ROUNDS))]
    )
    rows.append(["one entity, in memory", *(f"{value:.1f}" for value in timed(same, ROUNDS))])
    rows.append(["100 entities, most of them in the file", *(f"{value:.1f}" for value in timed(batch, 100))])
    timed(batch, 1_000)
    rows.append(["100 entities, in memory", *(f"{value:.1f}" for value in timed(batch, 1_000))])
    store.close()
    return rows


def fill_box(home: Path) -> Definition:
    """The serving benchmark's model: 10 of its columns come with the request, 20 are looked up."""
    view = definition()
    looked_up = [view.in_model(name) for name in view.features]
    given = [f"f{index}" for index in range(GIVEN)]
    names = [*given, *looked_up]
    rules = "\n".join(f'{name} = {{ type = "double", min = -100, max = 100 }}' for name in given)
    project = parse_project(
        f'[project]\nname = "{MODEL}"\n[data]\nsource = "x.csv"\n[data.contract]\n{rules}\n'
        f'[model]\ntask = "regression"\ntarget = "y"\nfeatures = {json.dumps(names)}\n'
    )
    packed = bench.build_onnx(0)
    row = dict(zip(names, bench.make_row(0).values(), strict=True))
    import onnxruntime

    session = onnxruntime.InferenceSession(packed, providers=["CPUExecutionProvider"])
    expected = float(session.run(None, {"numeric": np.array([list(row.values())], dtype=np.float32)})[0][0])
    golden = Golden((row,) * 16, prediction=(expected,) * 16)
    with Box.open(home, actor="benchmark") as box:
        box.projects.register(LoadedProject(home, project))
        view = box.features.register(view)
        files = {
            PACKED_FILE: box.objects.put_bytes(packed, kind="model"),
            GOLDEN_FILE: box.objects.put_bytes(golden.to_json().encode(), kind="golden"),
        }
        signature = Signature("regression", "y", tuple(Feature(name, "numeric", "double") for name in names))
        lineage = {"features": {view.name: view.digest}}
        draft = VersionDraft(
            MODEL, MODEL, "regression", True, signature, files, {}, (), "none", None, lineage
        )
        box.models.set_champion(box.models.register(draft), reason="benchmark")
        fill(box.online, view)
    return view


def serve(home: Path, port: int, *, timeout_s: float = 60.0) -> subprocess.Popen[bytes]:
    """A server with access log, contract, prediction log and metrics."""
    import sys
    import urllib.request

    command = [
        sys.executable,
        "-m",
        "mlops_box_services",
        "--home",
        str(home),
        "--port",
        str(port),
        "--access-log",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
                return process
        except OSError:
            time.sleep(0.1)
    process.kill()
    raise RuntimeError("the server did not start")


def post(port: int, path: str, body: Any) -> Any:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    if response.status != 200:
        raise RuntimeError(f"{path}: {answer}")
    connection.close()
    return answer


def load(port: int, server: psutil.Process, *, rate: int, connections: int, duration_s: int) -> list[str]:
    """wrk at about ``rate`` requests a second: each connection pauses between its requests; 0: none does."""
    given = {f"f{index}": 0.5 for index in range(GIVEN)}
    pause_ms = round(1000 * connections / rate) if rate else 0
    script = (
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f"function delay() return {pause_ms} end\n"
        f"function init(args) math.randomseed(os.time()) end\n"
        "function request() return wrk.format(nil, nil, nil, "
        f'\'{{"entities": [{{"card_id": \' .. math.random(0, {ENTITIES - 1}) .. \'}}], "rows": [{json.dumps(given)}]}}\') end\n'
    )
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        url = f"http://127.0.0.1:{port}/models/{MODEL}/predict"
        before_s = sum(server.cpu_times()[:2])
        found = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{duration_s}s", "--latency", "-s", file.name, url],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    latencies = {
        match[1]: _ms(match[2], match[3]) for match in re.finditer(r"(\d+)%\s+([\d.]+)(us|ms|s)", found)
    }
    rate_found = re.search(r"Requests/sec:\s+([\d.]+)", found)
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", found)
    requests = re.search(r"(\d+) requests in", found)
    assert rate_found is not None
    assert requests is not None
    cpu_us = (sum(server.cpu_times()[:2]) - before_s) / int(requests[1]) * 1e6
    return [
        f"{float(rate_found[1]):,.0f}", f"{latencies['50']:.2f}", f"{latencies['99']:.2f}", f"{cpu_us:.0f}",
        errors[1] if errors else "0",
    ]  # fmt: skip


def _ms(number: str, unit: str) -> float:
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def pushes(port: int, rounds: int) -> list[str]:
    """From sending an event until a prediction has answered that shows it."""
    samples = []
    for number in range(rounds):
        event = {
            "card_id": ENTITIES + 1,
            "tx_id": number,
            "happened_at": datetime.now(UTC).isoformat(),
            "amount": 1.0,
        }
        start = time.perf_counter_ns()
        post(port, "/features/tx", {"events": [event]})
        asked = {
            "entities": [{"card_id": ENTITIES + 1}],
            "rows": [{f"f{index}": 0.5 for index in range(GIVEN)}],
        }
        answer = post(port, f"/models/{MODEL}/predict?explain=features", asked)
        samples.append(time.perf_counter_ns() - start)
        assert answer["features"][0]["features"]["activity__count_1d"] == number + 1
    p50, p99 = quantiles(samples)
    return [f"{p50 / 1e3:.0f}", f"{p99 / 1e3:.0f}"]


def served(folder: Path, duration_s: int) -> tuple[list[list[str]], list[str]]:
    home, port = folder / "home", free_port()
    fill_box(home)
    process = serve(home, port)
    server = psutil.Process(process.pid)
    try:
        load(port, server, rate=0, connections=8, duration_s=3)
        rows = [
            [name, *load(port, server, rate=rate, connections=connections, duration_s=duration_s)]
            for name, rate, connections in (
                ("2,000 a second, 8 connections", 2_000, 8),
                ("as fast as it goes, 1 connection", 0, 1),
                ("as fast as it goes, 8 connections", 0, 8),
            )
        ]
        stop = threading.Event()
        pushing = threading.Thread(target=_push_on, args=(port, stop))
        pushing.start()
        rows.append(
            [
                "2,000 a second, and a push every 0.5 s",
                *load(port, server, rate=2_000, connections=8, duration_s=duration_s),
            ]
        )
        stop.set()
        pushing.join()
        return rows, pushes(port, 30)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _push_on(port: int, stop: threading.Event) -> None:
    number = 0
    while not stop.wait(0.5):
        number += 1
        event = {
            "card_id": number,
            "tx_id": number,
            "happened_at": datetime.now(UTC).isoformat(),
            "amount": 1.0,
        }
        post(port, "/features/tx", {"events": [event]})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="Write the report here as well.")
    parser.add_argument("--seconds", type=int, default=8, help="Of each load.")
    given = parser.parse_args()
    machine = describe()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        kept = formats(folder)
        looked = lookups(folder)
        rows, pushed = served(folder, given.seconds)
    report = "\n\n".join(
        [
            "# Features online",
            f"{FEATURES} features of one view, {ENTITIES:,} entities, SQLite in WAL mode. {machine}",
            "## How an entity's features are kept\n\nA prepared statement in this process, random entities.",
            table(["kept as", "p50 µs", "p99 µs"], kept),
            "## Lookup in process\n\nEntity checked, others' commits seen, ages and defaults applied.",
            table(["lookup", "p50 µs", "p99 µs"], looked),
            f"## Model and features together\n\n{GIVEN} columns in the request, {FEATURES} looked up for a random entity, 100 boosted trees; contract, "
            "prediction log with the observations, metrics and access log on. One server process; wrk on the same cores.",
            table(["load", "req/s", "p50 ms", "p99 ms", "server CPU µs/request", "errors"], rows),
            "## From a push to a prediction that shows it\n\nOne event; 20 aggregates of four windows computed anew, on the disk before it is acknowledged; then a "
            "prediction with `?explain=features`. On connections of their own.",
            table(["p50 ms", "p99 ms"], [pushed]),
        ]
    )
    print(report)
    if given.out is not None:
        given.out.write_text(report + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
