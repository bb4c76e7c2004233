"""Season classes: which past windows a window may fairly be compared with.

A quiet Sunday night is no drift of a busy Monday noon. The finest class that holds enough windows is taken: hour of day
and kind of day, hour of day, kind of day (Saturday and Sunday against the rest), all. Times are UTC: where clocks change
twice a year, an hour of local time lies in two classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

MIN_WINDOWS = 15  # fewer say too little about how much windows differ

Label = Callable[[datetime], str]


def ladder(width: timedelta) -> tuple[Label, ...]:
    """The classes for windows of a length, finest first."""
    if width < timedelta(days=1):
        return (_hour_and_day, _hour, _day, _all)
    if width < timedelta(days=2):
        return (_day, _all)
    return (_all,)


def season_of(
    starts_at: datetime, width: timedelta, starts: Sequence[datetime], *, least: int = MIN_WINDOWS
) -> tuple[str, list[int]] | None:
    """The finest class of a window that holds enough of ``starts``: its name, and their places.

    Returns:
        ``None`` where even all of them together are too few.
    """
    for label in ladder(width):
        name = label(starts_at)
        places = [place for place, start in enumerate(starts) if label(start) == name]
        if len(places) >= least:
            return name, places
    return None


def _hour_and_day(start: datetime) -> str:
    return f"{_day(start)} {_hour(start)}"


def _hour(start: datetime) -> str:
    return f"from {start:%H}:00 UTC"


def _day(start: datetime) -> str:
    return "weekends" if start.weekday() >= 5 else "weekdays"


def _all(_: datetime) -> str:
    return "all times"
