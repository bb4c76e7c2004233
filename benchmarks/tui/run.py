"""How fast the terminal screen is on a box of 10,000 runs and 1,000 versions.

    python -m benchmarks.tui.run [--starts 10] [--nice -10] [--note TEXT]

The real program in a pty: from its start to the first whole picture, from a key to its picture, the processor while nobody
touches it, its memory. Writes RESULTS.md beside this file; takes about three minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.machine import describe, table
from benchmarks.tui.box import fill
from benchmarks.tui.session import VIEWS, WAYS, Session

RESULTS = Path(__file__).parent / "RESULTS.md"
LIMIT_START_S, LIMIT_SHARE, LIMIT_KEY_S, LIMIT_MIB = 0.5, 0.03, 0.05, 90
SETTLE_S, WATCHED_S = 1.5, 6.0
WORDS = ("state:failed", "bike-n", "energy")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument(
        "--nice", type=int, default=0, help="run all of it at this priority (below 0: as root)"
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--note", default="", help="About the machine, for the results.")
    options = parser.parse_args()
    machine = describe()
    if options.nice:
        os.nice(options.nice)
    with tempfile.TemporaryDirectory(prefix="tui-") as folder:
        home = Path(folder)
        fill(home)
        sections = [_starts(home, options.starts), _keys(home), *_at_rest(home)]
    priority = os.nice(0)
    niced = f" Run at priority {priority}." if priority else ""
    text = "\n".join([
        "# The terminal screen", "",
        "The real program in a pty of 120 x 36, in a box of 10,000 runs, 1,000 versions of 20 models, 2,016 windows, 600 "
        "alerts, 600 decisions and 440 batches. Limits: first whole picture 0.5 s, a key's picture 50 ms, 3 % of a core at rest, "
        "90 MiB.", "",
        *sections, f"{machine}{niced} {options.note}".rstrip(), "",
        f"Command: `python -m benchmarks.tui.run --starts {options.starts} --nice {options.nice}`", "",
    ])  # fmt: skip
    options.output.write_text(text, encoding="utf-8")
    print(text)


def _starts(home: Path, starts: int) -> str:
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for turn in range(starts + 1):
        for way in WAYS:
            with Session(home, way) as session:
                measured = session.first_picture_s(), session.cpu_s()
            if turn:  # the first writes byte code
                found[way].append(measured)
    rows = []
    for way, values in found.items():
        wall, cpu = ([pair[place] for pair in values] for place in (0, 1))
        rows.append([
            f"`{way}`", f"{statistics.median(wall):.2f}", f"{min(wall):.2f}", f"{max(wall):.2f}",
            f"{statistics.median(cpu):.2f}", _verdict(statistics.median(wall), LIMIT_START_S),
        ])  # fmt: skip
    headers = ["start", "median s", "least", "most", "processor s by then (median)", "limit 0.5 s"]
    return (
        f"## From the start of the process to the first whole picture\n\n{starts} starts each, in turn.\n\n"
        + table(headers, rows)
        + "\n"
    )


def _keys(home: Path) -> str:
    times: dict[str, list[float]] = {"first visit of a view": [], "digit: a view seen before": []}
    with Session(home) as session:
        session.first_picture_s()
        for view in [name for name in VIEWS if name != "home"]:
            times["first visit of a view"].append(session.go(view))
        views, chance = list(VIEWS), random.Random(0)
        at = views[-1]
        for _ in range(40):
            at = chance.choice([view for view in views if view != at])
            times["digit: a view seen before"].append(session.go(at))
        if at != "runs":
            session.go("runs")
        times |= session.move(3) | session.look_deeper(20) | session.narrow(WORDS)
    rows = []
    for what, values in times.items():
        p95 = statistics.quantiles(values, n=20)[18]
        shown = [f"{1e3 * value:.0f}" for value in (statistics.median(values), p95, max(values))]
        rows.append([what, str(len(values)), *shown, _verdict(p95, LIMIT_KEY_S)])
    headers = ["key", "presses", "p50 ms", "p95", "most", "p95 at most 50 ms"]
    return "## From a key to the picture it asks for\n\n" + table(headers, rows) + "\n"


def _at_rest(home: Path) -> list[str]:
    shares: dict[str, list[float]] = {view: [] for view in VIEWS}
    with Session(home) as session:
        session.first_picture_s()
        for busy in (False, True):
            with _committing(home) if busy else contextlib.nullcontext():
                for place, view in enumerate(VIEWS):
                    if busy or place:
                        session.terminal.press(VIEWS[view][0])
                    time.sleep(SETTLE_S)
                    used_s, started_s = session.cpu_s(), time.monotonic()
                    time.sleep(WATCHED_S)
                    shares[view].append((session.cpu_s() - used_s) / (time.monotonic() - started_s))
        resident = session.resident_mib()
    rows = [
        [view, *(f"{100 * share:.1f}" for share in found), _verdict(max(found), LIMIT_SHARE)]
        for view, found in shares.items()
    ]
    headers = ["view", "nothing happens: % of a core", "a commit a second: % of a core", "limit 3 %"]
    return [
        "## At rest\n\nProcessor time of the program over 6 s a view; another process begins or ends a run each second.\n\n"
        + table(headers, rows)
        + "\n",
        f"## Memory\n\n{resident:.0f} MiB resident after all views (limit {LIMIT_MIB}: {_verdict(resident, LIMIT_MIB)}).\n",
    ]


@contextlib.contextmanager
def _committing(home: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.tui.committer", str(home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield
    finally:
        process.terminate()
        process.wait()


def _verdict(value: float, limit: float) -> str:
    return "kept" if value <= limit else "**missed**"


if __name__ == "__main__":
    main()
