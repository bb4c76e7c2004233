"""How many rows came: a window with far fewer or far more of them than windows of its season class usually hold.

That is a matter of the data (a client that broke off, one that sends everything twice), not drift: the rows themselves may be
as ever. Compared is traffic with earlier traffic; training rows say nothing about it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from statistics import median
from typing import Any, Literal

from mlops_box.clock import isoformat
from mlops_box.monitoring.budget import PAGE_OF, Limits
from mlops_box.monitoring.season import MIN_WINDOWS, season_of

RateOutcome = Literal["few", "many", "fine", "cannot_tell"]
FAR = 2.0  # fewer than half as many rows, or more than twice as many; less is of no interest, however sure
_NEWEST = 30  # earlier windows of a class: traffic grows, and last year's says little
_LOOKED_AT = 48  # windows back, for the newest ones that can be judged
_LEAST_SPREAD = 0.05
_OUTLIER = math.log(4.0)  # an earlier window further off than this factor counts as this far


@dataclass(frozen=True)
class RateFinding:
    """The rows of one window against those of earlier ones.

    Attributes:
        outcome: ``few`` and ``many`` are unusual; *cannot tell* is never *fine*.
        starts_at: The window that was judged, the newest that can be; ``None`` where there is none.
        usual: Rows of such windows in the middle; ``low`` to ``high`` are fine. ``None`` where not calibrated.
        p: Chance of so unusual a number without anything being wrong; ``limit`` is what it is held against.
        season: The class of windows, in words; ``windows`` is how many earlier ones of it were looked at.
        unusual: Unusual ones among the newest ``judged`` windows; ``page_at`` of them page.
        uncalibrated: Why it is not known what is usual; empty where it is.
    """

    outcome: RateOutcome
    reason: str
    starts_at: str | None = None
    rows: int | None = None
    usual: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    limit: float | None = None
    season: str = ""
    windows: int = 0
    unusual: int = 0
    judged: int = 0
    page_at: int = 0
    uncalibrated: str = ""

    @property
    def is_unusual(self) -> bool:
        return self.outcome in ("few", "many")

    @property
    def pages(self) -> bool:
        """Whether it is for a person's eyes at once."""
        return self.is_unusual and self.unusual >= self.page_at

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge_rate(traffic: Sequence[tuple[datetime, int]], width: timedelta, limits: Limits) -> RateFinding:
    """Judge the newest window that can be judged.

    Args:
        traffic: (begin, rows) of every window that is over, oldest first; those without a row too.
        width: Length of a window.
        limits: What the declared budget of false pages allows; the number of rows has that budget for itself.
    """
    judged: list[RateFinding] = []
    newest = None
    for place in range(len(traffic) - 1, max(-1, len(traffic) - 1 - _LOOKED_AT), -1):
        found = _judge(traffic[place], traffic[:place], width, limits.fdr)
        newest = newest or found
        if found.outcome != "cannot_tell":
            judged.append(found)
        if found.uncalibrated or len(judged) == PAGE_OF:
            break
    if not judged:
        return newest or _unknown("no window of traffic is over")
    unusual = sum(found.is_unusual for found in judged)
    return replace(judged[0], unusual=unusual, judged=len(judged), page_at=limits.page_at)


def _judge(
    window: tuple[datetime, int], earlier: Sequence[tuple[datetime, int]], width: timedelta, fdr: float
) -> RateFinding:
    """The logarithm of the rows, held against those of earlier windows, each of which was held against the others.

    Student's t of a new value (Geisser (1993), Predictive Inference, section 2.1). Far outliers are drawn in (winsorised: Tukey
    (1962), "The future of data analysis", Ann. Math. Statist. 33(1)), so that an outage in the past does not make the next one usual.
    """
    from scipy.special import stdtr, stdtrit

    starts_at, rows = window
    found = season_of(starts_at, width, [start for start, _ in earlier])
    if found is None:
        why = f"{len(earlier)} earlier windows of traffic, {MIN_WINDOWS} are needed"
        return _unknown(f"{rows} rows came; uncalibrated: {why}", starts_at, rows, why)
    season, places = found
    known = [earlier[place][1] for place in places[-_NEWEST:]]
    logs = [math.log1p(count) for count in known]
    middle, spread = median(logs), _spread(logs, known)
    freedom = len(logs) - 1
    spread *= math.sqrt(1 + 1 / len(logs))
    distance = (math.log1p(rows) - middle) / spread
    p = 2 * float(stdtr(freedom, -abs(distance)))
    reach = max(math.log(FAR), spread * float(stdtrit(freedom, 1 - fdr / 2)))
    low, high = max(0.0, math.expm1(middle - reach)), math.expm1(middle + reach)
    facts = RateFinding(
        "fine", "", isoformat(starts_at), rows, math.expm1(middle), low, high, p, fdr, season, len(known)
    )  # fmt: skip
    return _named(facts, beyond=abs(math.log1p(rows) - middle) > reach, is_less=distance < 0)


def _named(facts: RateFinding, *, beyond: bool, is_less: bool) -> RateFinding:
    usually = (
        f"{facts.usual:.0f} are usual ({facts.low:.0f} to {facts.high:.0f} are fine; {facts.season}, "
        f"{facts.windows} earlier windows)"
    )
    came = f"{facts.rows} rows came" if facts.rows else "no rows came"
    if beyond:
        outcome: RateOutcome = "few" if is_less else "many"
        return replace(facts, outcome=outcome, reason=f"too {outcome} rows: {came}, {usually}")
    if not facts.rows:
        return replace(facts, outcome="cannot_tell", reason=f"{came}, as is usual then, or as long already")
    return replace(facts, reason=f"{came}, {usually}")


def _spread(logs: Sequence[float], rows: Sequence[int]) -> float:
    """Of the logarithms; at least what counting scatters by itself (Poisson)."""
    left_out = [value - median([*logs[:place], *logs[place + 1 :]]) for place, value in enumerate(logs)]
    drawn_in = [min(abs(value), _OUTLIER) for value in left_out]
    among = math.sqrt(sum(value**2 for value in drawn_in) / (len(drawn_in) - 1))
    return max(among, math.sqrt(1 / (median(rows) + 1)), _LEAST_SPREAD)


def _unknown(
    reason: str, starts_at: datetime | None = None, rows: int | None = None, uncalibrated: str = ""
) -> RateFinding:
    begin = isoformat(starts_at) if starts_at is not None else None
    return RateFinding("cannot_tell", reason, begin, rows, uncalibrated=uncalibrated or reason)
