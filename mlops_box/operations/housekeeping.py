"""Keep the house: sweep what is left over, close what is dead, seal, prune, verify."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from mlops_box.box import Box
from mlops_box.db import compact
from mlops_box.operations.steps import Steps, recorded_run
from mlops_box.progress import Progress
from mlops_box.run_log import run_logs

# Nobody works on a scratch file for a day without touching it.
SCRATCH_AGE = timedelta(days=1)
LOG_AGE = timedelta(days=30)
VACUUM_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class HousekeepingOutcome:
    """What was done; ``problems`` is what ``PRAGMA integrity_check`` found, empty when all is well."""

    run_id: str
    swept: int
    swept_bytes: int
    runs_closed: tuple[str, ...]
    segments_sealed: int
    logs_pruned: int
    compacted_bytes: int
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def housekeeping(
    box: Box,
    *,
    steps: Steps | None = None,
    progress: Progress | None = None,
    trigger: str = "manual",
    flow_run_id: str | None = None,
) -> HousekeepingOutcome:
    """Do all of it; every step is idempotent and may be interrupted."""
    with recorded_run(
        box,
        "housekeeping",
        "box",
        trigger=trigger,
        flow_run_id=flow_run_id,
        steps=steps,
        progress=progress,
    ) as (run, recorded):
        closed = recorded.run("close dead runs", close_dead_runs, box)
        swept, swept_bytes = recorded.run("sweep scratch files", sweep, box, retries=1)
        sealed = recorded.run("seal dead segments", seal_segments, box, retries=1)
        pruned = recorded.run("prune old logs", prune_logs, box, retries=1)
        compacted = recorded.run("compact Prefect's database", compact_prefect, box)
        problems = recorded.run("check the database", check_database, box)
        outcome = HousekeepingOutcome(run.id, swept, swept_bytes, closed, sealed, pruned, compacted, problems)
        if problems:
            box.runs.end(
                run.id, "failed", result=outcome.to_dict(), error=f"box.db is damaged: {problems[0]}"
            )
        else:
            box.runs.end(run.id, "completed", result=outcome.to_dict())
        return outcome


def close_dead_runs(box: Box) -> tuple[str, ...]:
    """Close runs whose process is gone; returns their ids."""
    return tuple(run.id for run in box.runs.close_dead())


def sweep(box: Box) -> tuple[int, int]:
    """Remove temporary objects and scratch files untouched for a day; returns (how many, bytes of scratch)."""
    oldest = box.clock.now().timestamp() - SCRATCH_AGE.total_seconds()
    count, size = box.objects.sweep(older_than=SCRATCH_AGE), 0
    for entry in sorted(box.home.scratch.iterdir()):
        files = list(_files(entry))
        if any(_modified(path) > oldest for path in [entry, *files]):
            continue
        count += 1
        size += sum(_size(path) for path in files)
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    return count, size


def seal_segments(box: Box) -> int:
    """Seal closed prediction segments and those whose server died; returns how many."""
    return len(box.predictions.seal())


def prune_logs(box: Box) -> int:
    """Remove log files untouched for thirty days; returns how many."""
    oldest = box.clock.now().timestamp() - LOG_AGE.total_seconds()
    folders = [box.home.logs, *([run_logs(box.home)] if run_logs(box.home).is_dir() else [])]
    files = (path for folder in folders for path in folder.iterdir() if path.is_file())
    old = [path for path in files if _modified(path) <= oldest]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def compact_prefect(box: Box) -> int:
    """Prefect's vacuum only frees pages inside its file; this gives them back. Returns bytes."""
    return compact(box.home.prefect / "prefect.db", min_free_bytes=VACUUM_BYTES)


def check_database(box: Box) -> tuple[str, ...]:
    """What SQLite's own check finds wrong in box.db."""
    return tuple(box.db.check())


def _files(entry: Path) -> Iterator[Path]:
    if entry.is_dir() and not entry.is_symlink():
        yield from (path for path in entry.rglob("*") if path.is_file())
    else:
        yield entry


def _modified(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
