"""The circuit breaker: a candidate that plainly does not work is taken out at once, without waiting for proof.

Only failures where the champion answered the same request count: what neither can answer is the request's fault.
"""

from __future__ import annotations

from collections import deque

WINDOW = 20
IN_A_ROW = 3
IN_WINDOW = 5


class Breaker:
    """Trips at 3 failures in a row, or at 5 among the last 20 requests, and stays so.

    A candidate that always fails is out after 3 requests; one that fails every other time is out within 20. With a rate of 1 % a
    window of 20 trips it with a probability of 0.000001: slow harm is the sequential test's business.
    """

    def __init__(self) -> None:
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._row = 0
        self._requests = 0
        self.reason: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether the candidate must not be asked any more."""
        return self.reason is not None

    def note(self, failure: str | None) -> bool:
        """Count one answer of the candidate; returns whether this one tripped the breaker.

        Args:
            failure: The kind of failure; ``None`` for a good answer.
        """
        self._requests += 1
        self._recent.append(failure is not None)
        self._row = self._row + 1 if failure is not None else 0
        if failure is None or self.is_open:
            return False
        kind = failure.replace("_", " ")
        if self._row >= IN_A_ROW:
            self.reason = f"{self._row} failures in a row ({kind}) by request {self._requests} of this stage"
        elif sum(self._recent) >= IN_WINDOW:
            self.reason = (
                f"{sum(self._recent)} failures within {len(self._recent)} requests (the last: {kind}), "
                f"by request {self._requests} of this stage"
            )
        return self.is_open
