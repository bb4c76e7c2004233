"""Who gets the next connection, and who should let some go."""

from __future__ import annotations

from collections.abc import Mapping

# A skew smaller than this is left alone: moving a connection costs its client a new one.
_SLACK = 2


def next_worker(open_: Mapping[int, int], last_given: Mapping[int, int]) -> int:
    """The worker with the fewest open connections; among equals the one that waited longest.

    Args:
        open_: Connections by worker; not empty.
        last_given: A number that grows with every connection given, by worker.
    """
    return min(open_, key=lambda worker: (open_[worker], last_given.get(worker, -1), worker))


def to_shed(open_: Mapping[int, int]) -> dict[int, int]:
    """How many connections each worker lets go so that, given out again, all have the same number but for one."""
    if not open_:
        return {}
    total, workers = sum(open_.values()), len(open_)
    share, rest = divmod(total, workers)
    by_size = sorted(open_, key=lambda worker: (-open_[worker], worker))
    fair = {worker: share + (rank < rest) for rank, worker in enumerate(by_size)}
    return {worker: open_[worker] - fair[worker] for worker in open_ if open_[worker] > fair[worker]}


def is_skewed(open_: Mapping[int, int]) -> bool:
    """Whether clients came and went so unevenly that it is worth moving some."""
    if len(open_) < 2:
        return False
    mean = sum(open_.values()) / len(open_)
    return max(open_.values()) > 1.5 * mean + _SLACK
