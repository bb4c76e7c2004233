"""A device's acts killed and failing at every point: ``python benchmarks/faults/edge.py``.

The agent's acts (install, attempt, commit, fall back, rollback), cut off at every stage and at every call that changes the
disk, as ``tests/faults/test_edge_slots.py`` does once. A device that serves is killed by ``benchmarks/faults/edge_lives.py``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

from benchmarks.machine import describe, table  # noqa: E402
from tests.edge_faults import ACTS, Act, Case, Devices, Fault, stage_cases  # noqa: E402

RESULTS = Path(__file__).parent / "EDGE.md"
FAULTS: tuple[Fault, ...] = ("kill", "error", "full")


@dataclass
class Sums:
    """What became of the cases."""

    cases: Counter[tuple[str, str]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add(self, where: str, case: Case, problems: list[str]) -> None:
        self.cases[case.act.name, where] += 1
        self.problems += [f"{case.name}: {problem}" for problem in problems]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument(
        "--disk-times", type=int, default=1, help="Rounds over every call that changes the disk."
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    machine, started_s, sums = describe(), time.monotonic(), Sums()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory, prefix="edge-faults-") as folder:
        devices = Devices(Path(folder))
        _cut_off(devices, sums, options.times, options.disk_times)
    minutes = (time.monotonic() - started_s) / 60
    options.output.write_text(_report(sums, machine, minutes))
    if sums.problems:
        raise SystemExit("a device was left broken: " + "; ".join(sums.problems[:5]))


def _cut_off(devices: Devices, sums: Sums, times: int, disk_times: int) -> None:
    for _ in range(times):
        for case in stage_cases():
            reached, problems = devices.meet(case)
            sums.add(f"stage, {case.fault}", case, problems if reached else [*problems, "it was not reached"])
    for _ in range(disk_times):
        for act in ACTS:
            for fault in FAULTS:
                _every_call(devices, act, fault, sums.add)


def _every_call(
    devices: Devices, act: Act, fault: Fault, add: Callable[[str, Case, list[str]], None]
) -> None:
    call, reached = 1, True
    while reached:
        case = Case(act, fault, call=call)
        reached, problems = devices.meet(case)
        if reached:
            add(f"disk, {fault}", case, problems)
        call += 1


def _report(sums: Sums, machine: str, minutes: float) -> str:
    places = sorted({where for _, where in sums.cases})
    acts = [[act.name, *(f"{sums.cases[act.name, where]:,}" for where in places)] for act in ACTS]
    return (
        "# The acts of a device's agent, cut off\n\n"
        f"`python benchmarks/faults/edge.py` ({minutes:.0f} minutes). {machine}\n\n"
        "Cases by act, and by where and how they were cut off.\n\n"
        + table(["Act", *places], acts)
        + f"\n\n**{sum(sums.cases.values()):,} cases, {len(sums.problems)} problems.** *stage*: at enter, body and leave of "
        "each stage. *disk*: at each call that creates, writes, syncs, renames or removes. *kill*: SIGKILL. *error*: EIO, "
        "once. *full*: ENOSPC, and from then on. After each: every slot that `state.json` names is whole, keys can be read, "
        "what was confirmed is never lost; then the act is done again and leads to its end, with no stray layer left.\n"
    )


if __name__ == "__main__":
    main()
