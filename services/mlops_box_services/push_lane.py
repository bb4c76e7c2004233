"""Events on their way to the feature store: pushes that come together are stored together."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_box.box import Box
from mlops_box.features.pushed import Push, Pushed
from mlops_box.serving.batcher import Batcher
from mlops_box.serving.metrics import Metrics

# One transaction takes so many events; a larger push is still one.
MAX_TOGETHER = 10_000
MAX_QUEUED = 100_000


class PushLane:
    """The pushes of one server: what waits while one is stored goes into the next transaction together."""

    def __init__(self, box: Box, metrics: Metrics):
        self._box = box
        self._metrics = metrics
        self._lane: Batcher[Push, Pushed, Pushed] = Batcher(
            self._store,
            lambda _, results: results,
            size_of=lambda push: len(push.rows),
            max_batch=MAX_TOGETHER,
            max_queued=MAX_QUEUED,
            # A commit waits for the disk: never in the event loop.
            is_slow=lambda _: True,
        )

    async def push(self, push: Push, started_s: float) -> Pushed:
        """Store events; on the disk, and visible to every lookup, when this returns. Raises as
        :meth:`mlops_box.features.push.Pusher.push`, and :class:`Overloaded`."""
        done = await self._lane.submit(push)
        self._metrics.pushed(done.source, done.events, self._box.clock.monotonic_s() - started_s)
        return done

    def _store(self, pushes: Sequence[Push]) -> list[Pushed]:
        return self._box.pusher.push_all(pushes)
