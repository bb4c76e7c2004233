"""The machine that the box runs on, and the box's own processes; what cannot be read is ``None``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from mlops_box.box import Box
from mlops_box.home import Home
from mlops_box.operations.supervisor.state import read_state
from mlops_box.runs import Owner


@dataclass(frozen=True)
class Own:
    """A process of the box, and what it is there for."""

    pid: int
    what: str


@dataclass(frozen=True)
class ProcessReading:
    """One process: ``cpu`` in CPUs (1.0 is one CPU all the time), ``cpu_s`` is what it has used since its start."""

    pid: int
    what: str
    started_s: float
    cpu_s: float
    rss_bytes: int
    cpu: float | None


@dataclass(frozen=True)
class HostReading:
    """The machine at one moment.

    Attributes:
        at_s: Monotonic seconds.
        busy_s, total_s: CPU time since the machine's start, all CPUs together.
        cpu: Share of CPU time in use since the reading before; ``None`` without one.
        load: Of the last 1, 5 and 15 minutes.
        disk_total, disk_free: Bytes of the file system of the box's home; free to this user.
    """

    at_s: float
    cpus: int
    busy_s: float
    total_s: float
    cpu: float | None
    load: tuple[float, float, float] | None
    memory_total: int
    memory_available: int
    disk_total: int | None
    disk_free: int | None
    processes: tuple[ProcessReading, ...]


def own_processes(box: Box) -> tuple[Own, ...]:
    """This program, the supervisor with all it has started, and the owners of running runs."""
    import psutil

    found = {os.getpid(): "this program"}
    state = read_state(box.home)
    if state is not None and state.is_alive():
        names = {report.pid: report.name for report in state.processes}
        found.setdefault(state.owner.pid, "supervisor")
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(state.owner.pid).children(recursive=True):
                found.setdefault(child.pid, names.get(child.pid) or f"of the supervisor: {child.name()}")
    for row in box.db.read(
        "SELECT kind, project, pid, pid_started, boot_id FROM runs WHERE state = 'running' LIMIT 100"
    ):
        if Owner(row["pid"], row["pid_started"], row["boot_id"]).is_alive():
            found.setdefault(row["pid"], f"{row['kind']} {row['project']}")
    return tuple(Own(pid, what) for pid, what in found.items())


def read_host(home: Home, own: Sequence[Own], *, at_s: float, before: HostReading | None) -> HostReading:
    """Read the machine now.

    Args:
        own: The box's processes, see :func:`own_processes`.
        at_s: Monotonic seconds now.
        before: The reading that use of CPU is measured from.
    """
    import psutil

    times, memory = psutil.cpu_times(), psutil.virtual_memory()
    # Guests are counted in user and nice already.
    counted = {name: value for name, value in times._asdict().items() if not name.startswith("guest")}
    total = sum(counted.values())
    busy = total - counted.get("idle", 0.0) - counted.get("iowait", 0.0)
    disk = None
    with contextlib.suppress(OSError):
        disk = psutil.disk_usage(str(home.root))
    load = None
    with contextlib.suppress(OSError):
        load = psutil.getloadavg()
    read = (_process(process, at_s=at_s, before=before) for process in own)
    return HostReading(
        at_s=at_s,
        cpus=psutil.cpu_count() or 1,
        busy_s=busy,
        total_s=total,
        cpu=_rate(busy, before.busy_s, total - before.total_s) if before else None,
        load=load,
        memory_total=memory.total,
        memory_available=memory.available,
        disk_total=disk.total if disk else None,
        disk_free=disk.free if disk else None,
        processes=tuple(process for process in read if process is not None),
    )


def _process(own: Own, *, at_s: float, before: HostReading | None) -> ProcessReading | None:
    import psutil

    try:
        process = psutil.Process(own.pid)
        with process.oneshot():
            times, started = process.cpu_times(), process.create_time()
            rss = process.memory_info().rss
    except psutil.Error:
        return None  # gone meanwhile
    used = times.user + times.system
    known = before.processes if before else ()
    # The same pid may be another process by now.
    same = next((p for p in known if (p.pid, p.started_s) == (own.pid, started)), None)
    cpu = _rate(used, same.cpu_s, at_s - before.at_s) if before and same else None
    return ProcessReading(own.pid, own.what, started, used, rss, cpu)


def _rate(now: float, before: float, elapsed: float) -> float | None:
    return max(0.0, now - before) / elapsed if elapsed > 0 else None
