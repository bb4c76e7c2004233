"""How long to wait before something that died is started again."""

from __future__ import annotations

FIRST_S = 0.5
LONGEST_S = 30.0
STABLE_S = 60.0
LOOP_DEATHS = 5


class Backoff:
    """Doubles from half a second to thirty; a life of a minute makes good for all deaths before it.

    >>> backoff = Backoff()
    >>> [backoff.after_death(lived_s=1.0) for _ in range(4)]
    [0.5, 1.0, 2.0, 4.0]
    >>> backoff.after_death(lived_s=61.0)
    0.5
    """

    def __init__(self) -> None:
        self.deaths = 0

    def after_death(self, *, lived_s: float) -> float:
        """Count a death; returns the seconds to wait before the next start."""
        if lived_s >= STABLE_S:
            self.deaths = 0
        self.deaths += 1
        return float(min(FIRST_S * 2.0 ** (self.deaths - 1), LONGEST_S))

    @property
    def is_loop(self) -> bool:
        """It has died so often in a row that waiting will not mend it."""
        return self.deaths >= LOOP_DEATHS
