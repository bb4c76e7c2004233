"""Changing versions under load: how soon it is seen, whether a request fails, whether memory stays.

``python benchmarks/swaps/run.py``; a real server process, clients over HTTP without pause, versions of 4 MB.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "services")]

from benchmarks.machine import describe, table  # noqa: E402
from benchmarks.swaps.models import MODEL, ROW, declare, register  # noqa: E402
from mlops_box.box import Box  # noqa: E402
from mlops_box.models.values import ModelVersion  # noqa: E402
from mlops_box.serving.address import ServerAddress  # noqa: E402

RESULTS = Path(__file__).parent / "RESULTS.md"
VERSIONS = 8


class Load(threading.Thread):
    """One client that asks without pause.

    Attributes:
        first: By version number and turn of the change: when its first answer came.
        spent_s: What each request took.
    """

    def __init__(self, address: ServerAddress, changes: Changes):
        super().__init__(daemon=True)
        self._address = address
        self._changes = changes
        self.stop = threading.Event()
        self.answers = 0
        self.failures: list[str] = []
        self.spent_s: list[float] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address.host, self._address.port, timeout=30)
        body = json.dumps({"rows": [ROW]})
        while not self.stop.is_set():
            started_s = time.monotonic()
            try:
                connection.request(
                    "POST", f"/models/{MODEL}/predict", body, {"Content-Type": "application/json"}
                )
                response = connection.getresponse()
                answer = json.loads(response.read())
                number = int(answer["model"].partition("@")[2])
            except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                return
            now_s = time.monotonic()
            self._changes.answered(number, now_s)
            self.spent_s.append(now_s - started_s)
            self.answers += 1
        connection.close()


class Changes:
    """When a wanted version was first seen in an answer."""

    def __init__(self) -> None:
        self._seen = threading.Event()
        self._wanted = 0
        self._at_s = 0.0

    def want(self, number: int) -> None:
        self._seen.clear()
        self._wanted = number

    def answered(self, number: int, now_s: float) -> None:
        if number == self._wanted and not self._seen.is_set():
            self._at_s = now_s
            self._seen.set()

    def wait(self) -> float:
        if not self._seen.wait(60):
            raise SystemExit("a promotion was not seen within a minute")
        return self._at_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=100, help="Promotions and roll-backs that are timed.")
    parser.add_argument("--swaps", type=int, default=1000, help="Swaps over which memory is watched.")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--note", default="", help="About the machine, for the results.")
    options = parser.parse_args()
    machine = describe()
    with tempfile.TemporaryDirectory(prefix="swaps-") as folder:
        home = Path(folder) / "home"
        with Box.open(home, actor="benchmark") as box:
            declare(box, home)
            versions = [register(box, seed) for seed in range(VERSIONS)]
            box.models.set_champion(versions[0], reason="benchmark")
            timed, load = _time_changes(box, versions, options)
            memory = _watch_memory(box, versions, options.swaps)
    text = _report(timed, load, memory, machine, options)
    options.output.write_text(text)
    print(text)


def _time_changes(
    box: Box, versions: list[ModelVersion], options: argparse.Namespace
) -> tuple[dict[str, list[float]], list[Load]]:
    """Promote a version that is not in memory, undo it, and so on; seconds from commit to first answer."""
    timed: dict[str, list[float]] = {"promotion (loads 4 MB)": [], "roll-back (in memory)": []}
    with _server(box, spare="6MB") as (address, _):
        changes = Changes()
        clients = [Load(address, changes) for _ in range(options.clients)]
        for client in clients:
            client.start()
        time.sleep(1)
        for turn in range(options.changes):
            version = versions[1 + turn % (VERSIONS - 1)]
            changes.want(version.number)
            box.models.set_champion(version, reason="benchmark")
            committed_s = time.monotonic()
            timed["promotion (loads 4 MB)"].append(changes.wait() - committed_s)
            time.sleep(0.05)
            changes.want(versions[0].number)
            box.models.roll_back(MODEL, reason="benchmark")
            committed_s = time.monotonic()
            timed["roll-back (in memory)"].append(changes.wait() - committed_s)
            time.sleep(0.05)
        for client in clients:
            client.stop.set()
        for client in clients:
            client.join(30)
    return timed, clients


def _watch_memory(box: Box, versions: list[ModelVersion], swaps: int) -> list[tuple[int, float]]:
    """(swaps so far, resident MiB); nothing that does not serve may stay, so that each swap loads."""
    found: list[tuple[int, float]] = []
    every = max(1, swaps // 20)
    with _server(box, spare="0MiB") as (address, pid):
        changes = Changes()
        client = Load(address, changes)
        client.start()
        for turn in range(swaps + 1):
            if turn % every == 0:
                found.append((turn, _resident_mib(pid)))
            version = versions[1 + turn % (VERSIONS - 1)]
            changes.want(version.number)
            box.models.set_champion(version, reason="benchmark")
            changes.wait()
        client.stop.set()
        client.join(30)
        if client.failures:
            raise SystemExit(f"a request failed: {client.failures[0]}")
    return found


@contextlib.contextmanager
def _server(box: Box, *, spare: str) -> Iterator[tuple[ServerAddress, int]]:
    home = box.home
    paths = os.pathsep.join([str(ROOT), str(ROOT / "services")])
    environ = {**os.environ, "PYTHONPATH": paths, "MLOPS_BOX_SPARE_MEMORY": spare}
    command = [sys.executable, "-m", "mlops_box_services", "--home", str(home.root), "--port", "0"]
    with (home.logs / "server.log").open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environ)
    try:
        deadline = time.monotonic() + 60
        while (address := ServerAddress.read(home.run)) is None or address.pid != process.pid:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the server did not start")
            time.sleep(0.02)
        yield address, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


def _report(
    timed: dict[str, list[float]],
    load: list[Load],
    memory: list[tuple[int, float]],
    machine: str,
    options: argparse.Namespace,
) -> str:
    spent = sorted(value for client in load for value in client.spent_s)
    answers, failures = sum(client.answers for client in load), sum(len(client.failures) for client in load)
    rows = [
        [name, str(len(values)), *(f"{value * 1000:.0f}" for value in (statistics.median(values), _quantile(values, 0.99), max(values)))]
        for name, values in timed.items()
    ]  # fmt: skip
    flat = memory[len(memory) // 4 :]
    return "\n".join(
        [
            "# Changing versions under load", "",
            f"From the end of the transaction to the first answer of the wanted version, with {len(load)} clients that ask "
            "without pause; versions of 4 MB, one server process.", "",
            table(["change", "times", "p50 ms", "p99 ms", "max ms"], rows), "",
            f"{answers:,} requests over these changes, {failures} failed; a request took {_quantile(spent, 0.5) * 1000:.2f} ms "
            f"(p50), {_quantile(spent, 0.99) * 1000:.1f} ms (p99), {spent[-1] * 1000:.0f} ms (max).", "",
            f"## Memory over {options.swaps:,} swaps", "",
            "Every swap loads 4 MB and lets 4 MB go (`MLOPS_BOX_SPARE_MEMORY=0MiB`); resident memory of the server while one "
            "client asks.", "",
            table(["swaps"] + [str(turn) for turn, _ in memory], [["MiB"] + [f"{value:.0f}" for _, value in memory]]), "",
            f"Between the first quarter and the end it changed by {flat[-1][1] - flat[0][1]:+.1f} MiB; "
            f"{options.swaps * 3 // 4:,} versions that stayed would be {options.swaps * 3:,} MiB.", "",
            f"{datetime.now(UTC):%Y-%m-%d}. {machine} {options.note}".rstrip(), "",
            f"Command: `python benchmarks/swaps/run.py --changes {options.changes} --swaps {options.swaps} --clients {options.clients}`",
            "",
        ]
    )  # fmt: skip


def _quantile(values: list[float], share: float) -> float:
    """The nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


if __name__ == "__main__":
    main()
