"""What the app read of each version's counters since it was opened: a ring of readings, and what the differences tell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from mlops_box.operations.views import RecentTraffic, ServedModel

# Readings nearer to each other than this are one; an hour and a bit is kept.
SPACING = timedelta(seconds=10)
KEPT = 400
# What "now" means in the list: the last minute.
RECENT = timedelta(minutes=1)


@dataclass(frozen=True)
class Reading:
    """The counters of one version at one moment."""

    at: datetime
    counters: ServedModel

    def since(self, before: Reading) -> RecentTraffic | None:
        """What was counted between the two."""
        return self.counters.since(before.counters, (self.at - before.at).total_seconds())


@dataclass(frozen=True)
class Traffic:
    """Readings of the counters of one version, oldest first; those of an earlier server are forgotten."""

    readings: tuple[Reading, ...]

    @staticmethod
    def begun(at: datetime, counters: ServedModel) -> Traffic:
        return Traffic((Reading(at, counters),))

    def next(self, at: datetime, counters: ServedModel) -> Traffic:
        """After another reading; a counter that went back belongs to a new server."""
        reading, last = Reading(at, counters), self.readings[-1]
        if at < last.at or (at > last.at and reading.since(last) is None):
            return Traffic((reading,))
        # The first reading stays: what is known is known since then.
        crowded = len(self.readings) > 1 and last.at - self.readings[-2].at < SPACING
        kept = self.readings[:-1] if crowded else self.readings
        return Traffic((*kept, reading)[-KEPT:])

    @property
    def since(self) -> datetime:
        """Since when anything is known."""
        return self.readings[0].at

    def recent(self, window: timedelta = RECENT) -> RecentTraffic | None:
        """Up to the newest reading, over ``window`` or as much of it as is known; ``None`` before the second reading."""
        newest = self.readings[-1]
        return newest.since(self._at(newest.at - window) or self.readings[0])

    def between(self, begin: datetime, end: datetime) -> RecentTraffic | None:
        """Over about this span; ``None`` where no two readings tell."""
        first, last = self._at(begin), self._at(end)
        if first is None or last is None or begin - first.at > 3 * SPACING or end - last.at > 3 * SPACING:
            return None
        return last.since(first)

    def spans(self, points: int) -> tuple[RecentTraffic, ...]:
        """Between the newest readings, oldest first."""
        readings = self.readings[-points - 1 :]
        found = [after.since(before) for before, after in pairwise(readings)]
        return tuple(one for one in found if one is not None)

    def _at(self, moment: datetime) -> Reading | None:
        """The newest reading that is no later."""
        return next((reading for reading in reversed(self.readings) if reading.at <= moment), None)
