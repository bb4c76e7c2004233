"""Unattended lives in simulated worlds: harmful promotions, false retrainings, time to notice.

    python -m benchmarks.autonomy.run [--seeds 10000] [--processes 2]

A life is six weeks after six weeks of history. Seeds are dealt to the nine worlds in turn. Writes RESULTS.md beside this
file. A seed that ends badly is replayed by ``python -m benchmarks.autonomy.run --replay KIND SEED``.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

# Before numpy: its threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks.autonomy.life import LIFE, Life, Outcome
from benchmarks.autonomy.world import KINDS, Kind, World
from benchmarks.machine import describe, table

HERE = Path(__file__).parent
Job = tuple[Kind, int]


def jobs(seeds: int) -> list[Job]:
    """So many lives, dealt to the worlds in turn."""
    return [(KINDS[number % len(KINDS)], number // len(KINDS)) for number in range(seeds)]


def live(job: Job) -> Outcome:
    kind, seed = job
    return Life(World(kind, seed)).live()


def run(todo: Sequence[Job], *, processes: int) -> Iterator[tuple[Job, Outcome]]:
    """Each job with what came of it, in order."""
    # Forking a process that has threads (arrow, numpy) may hang for ever.
    with ProcessPoolExecutor(processes, mp_context=get_context("forkserver")) as pool:
        yield from zip(todo, pool.map(live, todo, chunksize=4), strict=True)


def rows(found: dict[Kind, list[Outcome]]) -> list[list[str]]:
    """A line a world."""
    return [_row(kind, outcomes) for kind, outcomes in found.items()]


def _row(kind: Kind, outcomes: list[Outcome]) -> list[str]:
    lives = len(outcomes)
    delays = [outcome.detected_after for outcome in outcomes if outcome.detected_after is not None]
    drifts = World(kind, 0).drifts
    promotions = sum(outcome.promotions for outcome in outcomes)
    poisoned = sum(outcome.poisoned for outcome in outcomes)
    return [
        kind,
        f"{lives:,}",
        f"{sum(outcome.false_retrains for outcome in outcomes) / lives * 30 / LIFE.days:.3f}",
        f"{len(delays) / lives:.1%}" if drifts else "–",
        f"{median(delays):g} / {sorted(delays)[int(0.95 * (len(delays) - 1))]:g}" if delays else "–",
        f"{promotions:,}",
        f"{sum(outcome.harmful for outcome in outcomes):,}",
        f"{sum(outcome.stopped for outcome in outcomes):,}",
        f"{sum(outcome.answered_wrongly for outcome in outcomes) / poisoned:.1f}" if poisoned else "–",
        f"{median(outcome.end_ratio for outcome in outcomes):.2f}",
    ]


HEADER = [
    "world", "lives", "false retrainings a month", "noticed", "days to notice, median / 95 %", "promotions", "harmful",
    "candidates stopped", "live answers by a poisoned one", "error at the end, of a model never retrained",
]  # fmt: skip

NOTES = """
*False*: nothing had happened that a new model could learn. *Harmful*: the new champion's error on fresh rows of that day
was more than 5 % above the old one's, or it was poisoned. *Poisoned*: a candidate that passed its gates, then raises, answers
NaN, a constant, three times or minus what it should, or four times slower. Decisions are made by the code that ships;
the worlds, the training (least squares) and the requests are simulated. Truth is known after one day, eight in *late
labels*. In *recurring* the world swings back every week: a candidate that was rightly better while it was watched is
promoted into the week in which it is worse.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--replay", nargs=2, metavar=("KIND", "SEED"))
    options = parser.parse_args()
    if options.replay:
        kind, seed = options.replay
        outcome = live((kind, int(seed)))
        print("\n".join(outcome.reasons), outcome, sep="\n")
        return
    began = time.monotonic()
    found: dict[Kind, list[Outcome]] = {kind: [] for kind in KINDS}
    bad: list[str] = []
    for number, ((kind, seed), outcome) in enumerate(
        run(jobs(options.seeds), processes=options.processes), 1
    ):
        found[kind].append(outcome)
        if outcome.harmful:
            bad.append(f"{kind} {seed}")
        if number % 50 == 0:
            print(f"\r{number} of {options.seeds}, {time.monotonic() - began:.0f} s", end="", file=sys.stderr)
    print(file=sys.stderr)
    text = "\n".join(
        [
            "# Autonomy: unattended lives in simulated worlds", "",
            f"{options.seeds:,} lives of {LIFE.days} days, {time.monotonic() - began:.0f} s.", "",
            table(HEADER, rows(found)), NOTES,
            f"Seeds with a harmful promotion: {', '.join(bad[:40]) or 'none'}{' ...' if len(bad) > 40 else ''}.", "",
            describe(), "",
            f"Command: `python -m benchmarks.autonomy.run --seeds {options.seeds}`", "",
        ]
    )  # fmt: skip
    (HERE / "RESULTS.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
