"""How often merely wobbling traffic is called unusual, and how often far fewer or far more rows are noticed.

    python -m benchmarks.monitoring.traffic

Simulated: 500 rows a window (5 where said), weekends at 40 %, a day's wave of 80 % where windows are hours; budget one false
page a month. Prints a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from benchmarks.machine import table
from mlops_box.monitoring.budget import limits_for
from mlops_box.monitoring.rate import judge_rate
from mlops_box.units import parse_rate

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WORLDS = 4
Traffic = list[tuple[datetime, int]]


@dataclass(frozen=True)
class Level:
    """How the level scatters: ``wobble`` of its logarithm, ``trend`` a month."""

    wobble: float
    trend: float = 0.0
    rows: float = 500
    heavy: bool = False


LEVELS = {
    "wobbles by 10 %": Level(0.1),
    "wobbles by 30 %": Level(0.3),
    "30 %, heavy tails": Level(0.3, heavy=True),
    "10 %, grows by 20 % a month": Level(0.1, trend=0.2),
    "10 %, of 5 rows": Level(0.1, rows=5),
}


def simulated(windows: int, width: timedelta, level: Level, draw: np.random.Generator) -> Traffic:
    found = []
    for place in range(windows):
        start = MONDAY + place * width
        season = (0.4 if start.weekday() >= 5 else 1) * (1 + 0.8 * np.sin(2 * np.pi * start.hour / 24))
        chance = draw.standard_t(4) * level.wobble if level.heavy else draw.normal(0, level.wobble)
        grown = level.trend * place * width / timedelta(days=30)
        found.append((start, int(draw.poisson(level.rows * season * np.exp(chance + grown)))))
    return found


def row(name: str, width: timedelta, level: Level, draw: np.random.Generator) -> list[str]:
    limits = limits_for(parse_rate("1/month"), width)
    windows, step = (24 * 60, 3) if width == HOUR else (240, 1)
    pages: list[bool] = []
    noticed: dict[float, list[bool]] = {0.0: [], 0.3: [], 3.0: []}
    for _ in range(WORLDS):
        traffic = simulated(windows, width, level, draw)
        for place in range(windows // 2, windows, step):
            pages.append(judge_rate(traffic[:place], width, limits).pages)
            if width == DAY or place % 24 == 0:
                start, rows = traffic[place - 1]
                for factor, hits in noticed.items():
                    changed = [*traffic[: place - 1], (start, int(rows * factor))]
                    hits.append(judge_rate(changed, width, limits).is_unusual)
    months = len(pages) * width / timedelta(days=30)
    return [
        f"{width / HOUR:.0f} h", name, f"{sum(pages) / months:.2f}",
        *(f"{np.mean(hits):.0%}" for hits in noticed.values()),
    ]  # fmt: skip


def rows() -> Iterator[list[str]]:
    draw = np.random.default_rng(3)
    for width in (HOUR, DAY):
        for name, level in LEVELS.items():
            yield row(name, width, level, draw)


if __name__ == "__main__":
    headers = ["window", "the level", "pages a month", "silence noticed", "30 % noticed", "3 times noticed"]
    print(table(headers, list(rows())))
