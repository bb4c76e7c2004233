"""How busy this process is: processors used, processors waited for, and how late its event loop runs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

from mlops_box_services.workers.messages import Report

_TICK_S = 0.1


def used_and_waited_s() -> tuple[float, float]:
    """Seconds that the threads of this process ran, and that they waited for a processor (Linux schedstat).

    Where the system does not tell the second it is zero; then a worker on a crowded machine looks less busy than it is.
    """
    waited_ns = 0
    try:
        for task in os.listdir("/proc/self/task"):
            try:
                with open(f"/proc/self/task/{task}/schedstat", "rb") as file:
                    waited_ns += int(file.read().split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue  # The thread has ended meanwhile.
    except (OSError, ValueError, IndexError):
        waited_ns = 0
    return time.process_time(), waited_ns / 1e9


class LoadMeter:
    """Reports every ``every_s`` seconds until the loop ends. Make it in the event loop."""

    def __init__(self, report: Callable[[Report], None], *, every_s: float = 0.5):
        self._report = report
        self._every_s = every_s
        self._loop = asyncio.get_running_loop()
        self._since_s = self._loop.time()
        self._used = used_and_waited_s()
        self._late_s: list[float] = []
        self._next()

    def _next(self) -> None:
        due_s = self._loop.time() + _TICK_S
        self._loop.call_at(due_s, self._tick, due_s)

    def _tick(self, due_s: float) -> None:
        now_s = self._loop.time()
        self._late_s.append(max(0.0, now_s - due_s))
        if now_s - self._since_s >= self._every_s:
            self._tell(now_s)
        self._next()

    def _tell(self, now_s: float) -> None:
        used, before = used_and_waited_s(), self._used
        elapsed_s = now_s - self._since_s
        cpu = (used[0] - before[0]) / elapsed_s
        # A thread that ended takes its waiting with it.
        waited = max(0.0, used[1] - before[1]) / elapsed_s
        lag_s = sum(self._late_s) / len(self._late_s)
        self._since_s, self._used, self._late_s = now_s, used, []
        self._report(Report(round(cpu, 4), round(cpu + waited, 4), round(lag_s, 6)))
