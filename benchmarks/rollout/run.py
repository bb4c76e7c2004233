"""``python -m benchmarks.rollout.run``: how often a harmless candidate is rolled back, and how soon a harmful one.

Simulated traffic, the real decisions: states, verdicts and breaker are the code that decides real rollouts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

import click

from benchmarks.machine import describe, table
from benchmarks.rollout.traffic import Behaviour, Ended, Simulation, World

RESULTS = Path(__file__).with_name("RESULTS.md")
WITH_TRUTH = World(truth=0.2, look_s=4)
CANARY_ONLY = World(plan=World().plan.model_copy(update={"shadow": None}))
CANARY_TRUTH = replace(CANARY_ONLY, truth=0.2)

CASES: dict[str, tuple[Behaviour, World]] = {
    "always raises": (Behaviour(own_failures=1.0), CANARY_ONLY),
    "always NaN": (Behaviour(own_failures=1.0, failure="not_finite"), CANARY_ONLY),
    "NaN every third time": (Behaviour(own_failures=1 / 3, failure="not_finite"), CANARY_ONLY),
    "+5 points of errors": (Behaviour(own_failures=0.05), CANARY_ONLY),
    "+1 point of errors": (Behaviour(own_failures=0.01), CANARY_ONLY),
    "2 times slower": (Behaviour(latency=2.0), CANARY_ONLY),
    "4 times slower": (Behaviour(latency=4.0), CANARY_ONLY),
    "constant": (Behaviour(constant=True), CANARY_ONLY),
    "constant, with a shadow": (Behaviour(constant=True, disagreement=0.5), World()),
    "label-flipped, with a shadow": (Behaviour(flipped=True, disagreement=0.97), World()),
    "label-flipped, predictions only": (Behaviour(flipped=True), CANARY_ONLY),
    "twice as often wrong, truth after 1 min": (Behaviour(wrong=0.4), CANARY_TRUTH),
    "half as often again wrong, truth after 1 min": (Behaviour(wrong=0.3), CANARY_TRUTH),
}
NULLS: dict[str, World] = {
    "shadow and canary, with ground truth": WITH_TRUTH,
    "canary only": replace(CANARY_ONLY, look_s=4),
    "canary only, one request a second, with ground truth": replace(CANARY_TRUTH, rate=1.0, look_s=30),
}


@click.command()
@click.option("--nulls", default=2000, show_default=True, help="Harmless candidates a world.")
@click.option("--harmful", default=200, show_default=True, help="Rollouts a harmful candidate.")
@click.option("--workers", default=2, show_default=True)
def main(nulls: int, harmful: int, workers: int) -> None:
    machine, started = describe(), perf_counter()
    with ProcessPoolExecutor(workers) as pool:
        harmless = {
            name: list(pool.map(partial(_one, Behaviour(), world), range(nulls), chunksize=20))
            for name, world in NULLS.items()
        }
        found = {
            name: list(pool.map(partial(_one, behaviour, world), range(harmful), chunksize=5))
            for name, (behaviour, world) in CASES.items()
        }
        silent = _one(Behaviour(), replace(CANARY_ONLY, rate=0.0, look_s=60), 0)
        ten = _one(Behaviour(), replace(CANARY_ONLY, rate=10 / 86400, look_s=60), 0)
    took_s = perf_counter() - started
    RESULTS.write_text(_report(harmless, found, silent, ten, nulls, harmful, took_s, machine))
    print(RESULTS.read_text())


def _one(behaviour: Behaviour, world: World, seed: int) -> Ended:
    return Simulation(behaviour, world, seed).run()


def _report(
    harmless: dict[str, list[Ended]], found: dict[str, list[Ended]], silent: Ended, ten: Ended,
    nulls: int, harmful: int, took_s: float, machine: str,
) -> str:  # fmt: skip
    world = World()
    parts = [
        "# Rollouts: false alarms and delays",
        f"Simulated traffic of {world.rate:.0f} requests a second, decided by the code that decides real rollouts (`states.decide`, "
        "`verdict.judge`, `breaker.Breaker`), every 4 seconds for harmless and every second for harmful candidates. Plan: shadow 2 min (where said), canary 5, 25, 50 %, at least 2 "
        "min and 200 requests each. The champion: latency log-normal around 4 ms (sigma 0.4), 0.2 % of the requests nobody can "
        "answer, a fifth of its answers wrong; ground truth, where there is some, for a fifth of the requests a minute later.",
        f"## A candidate that behaves as the champion ({nulls} rollouts each)",
        table(
            ["world", "false rollbacks", "became champion", "time: median", "99 %", "longest"],
            [_null_row(*i) for i in harmless.items()],
        ),
        "The tests are set to 1 % false rollbacks over a whole rollout, all looks, stages and signals together; mixture tests "
        "are conservative, so fewer are seen. Ground truth that leans against a candidate holds it (one-sided 5 % at a look) until it is "
        "proven worse, released by more truths, or out of time.",
        f"## Harmful candidates ({harmful} rollouts each)",
        table(
            [
                "candidate",
                "stopped",
                "by",
                "live requests it got: median",
                "90 %",
                "copies: median",
                "seconds: median",
            ],
            [_harm_row(*item) for item in found.items()],
        ),
        "Live requests count those that the candidate failed and the champion answered instead: no client sees a failure. A live "
        "request of a slow, constant or flipped candidate is answered by it until it is stopped.",
        "What was not stopped: one point more of errors lies within the declared limit of two, and may pass before it is proven "
        "to be more than none. Ground truth can condemn and hold, but is not waited for: whoever looks no worse on the truths that have "
        "come by the end of a stage moves on, and where none have come, so does everybody.",
        "## Little traffic",
        f"- no request at all: {silent.state.replace('_', ' ')} after {silent.seconds / 3600:.0f} h: {silent.reason}\n"
        f"- about ten requests a day: {ten.state.replace('_', ' ')} after {ten.seconds / 3600:.0f} h: {ten.reason}",
        f"Machine: {machine} Took {took_s:.0f} s.",
        f"Command: `python -m benchmarks.rollout.run --nulls {nulls} --harmful {harmful}`",
    ]
    return "\n\n".join(parts) + "\n"


def _null_row(name: str, ended: Sequence[Ended]) -> list[str]:
    states = Counter(item.state for item in ended)
    false = len(ended) - states["champion"]
    minutes = sorted(item.seconds / 60 for item in ended)
    times = [
        f"{value:.1f} min"
        for value in (median(minutes), quantiles(minutes, n=100, method="inclusive")[-1], minutes[-1])
    ]
    return [name, f"{false} ({false / len(ended):.2%})", str(states["champion"]), *times]


def _harm_row(name: str, ended: Sequence[Ended]) -> list[str]:
    stopped = [item for item in ended if item.state != "champion"]
    by = Counter(item.reason.split(":")[0] for item in stopped).most_common(1)
    seen = sorted(item.seen for item in stopped) or [0]
    ninety = quantiles(seen, n=10)[-1] if len(seen) > 1 else seen[0]
    return [
        name,
        f"{len(stopped)} of {len(ended)}",
        by[0][0] if by else "-",
        f"{median(seen):.0f}",
        f"{ninety:.0f}",
        f"{median([item.copies for item in stopped] or [0]):.0f}",
        f"{median([item.seconds for item in stopped] or [0]):.0f}",
    ]


if __name__ == "__main__":
    main()
