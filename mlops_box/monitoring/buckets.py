"""The categories of a window beside those of its reference, as buckets that can be compared."""

from __future__ import annotations

from mlops_box.monitoring.counts import CategoricalCounts
from mlops_box.monitoring.reference import CategoricalReference


def buckets(reference: CategoricalReference, counts: CategoricalCounts) -> tuple[list[float], list[float]]:
    """Counts per value and one bucket for all others.

    Where the reference lists all its values, the others are new ones. Its own share of them is that of the values it
    had once only: left out, each of those rows would have been new (the leave-one-out form of Good-Turing). A window
    with fewer new values than that, such as the training rows themselves, is no drift: the share is taken down to it.
    """
    if not reference.complete or reference.rest:
        return [*reference.counts, reference.rest], [*counts.counts, counts.unlisted]
    new = min(reference.singletons, counts.unlisted / counts.rows * reference.rows)
    kept = 1 - new / reference.singletons if reference.singletons else 1.0
    listed = [count if count != 1 else kept for count in reference.counts]
    return [*listed, new], [*counts.counts, counts.unlisted]
