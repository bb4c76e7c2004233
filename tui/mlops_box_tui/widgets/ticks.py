"""Places on an axis that a person would have chosen: round numbers, round times."""

from __future__ import annotations

import math
from datetime import UTC, datetime

Ticks = tuple[list[float], list[str]]

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_TIME_STEPS = (
    *(minutes * _MINUTE for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * _HOUR for hours in (1, 2, 3, 6, 12)),
    *(days * _DAY for days in (1, 2, 7, 14, 28, 91, 182, 364)),
)
# A Monday: steps of weeks begin on one.
_MONDAY = datetime(1970, 1, 5, tzinfo=UTC).timestamp()


def number_ticks(low: float, high: float, most: int, *, whole: bool = False) -> Ticks:
    """At most ``most`` (two or more) multiples of 1, 2 or 5 times a power of ten, with as many decimals as they need.

    >>> number_ticks(0.02, 0.34, 5)
    ([0.1, 0.2, 0.3], ['0.1', '0.2', '0.3'])
    >>> number_ticks(1, 24, 6, whole=True)[1]
    ['5', '10', '15', '20']

    Args:
        low: Beginning of the axis.
        high: Its end, above ``low``.
        most: At most this many.
        whole: Whole numbers alone (epochs, versions).
    """
    size: float = 10.0 ** math.floor(math.log10((high - low) / (most + 1)))
    steps = (factor * size for factor in (1, 2, 5, 10, 20, 50, 100))
    step = next(one for one in steps if len(_multiples(low, high, one)) <= most)
    if whole:
        step = max(step, 1.0)
    places = [round(place * step, 12) + 0.0 for place in _multiples(low, high, step)]
    return places, [_label(place, step) for place in places]


def time_ticks(low: float, high: float, most: int) -> Ticks:
    """At most ``most`` round times (UTC) between two moments in seconds since 1970.

    The first label names the day, as does midnight; where days are steps, all do.
    """
    span = high - low
    step = next((one for one in _TIME_STEPS if span / one <= most - 1), _TIME_STEPS[-1])
    if span / step > most - 1:
        step *= math.ceil(span / step / max(most - 1, 1))
    places = [_MONDAY + place * step for place in _multiples(low - _MONDAY, high - _MONDAY, step)]
    return places, [_time_label(place, step, first=not number) for number, place in enumerate(places)]


def _multiples(low: float, high: float, step: float) -> range:
    """Which multiples of a step lie between two ends."""
    return range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)


def _label(value: float, step: float) -> str:
    if step < 1e-5 or abs(value) >= 1e7:
        return f"{value:.3g}"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{decimals}f}".replace(",", " ")


def _time_label(place: float, step: float, *, first: bool) -> str:
    moment = datetime.fromtimestamp(place, tz=UTC)
    if step >= 182 * _DAY:
        return f"{moment:%Y-%m-%d}"
    if step >= _DAY or (moment.hour, moment.minute) == (0, 0):
        return f"{moment:%m-%d}"
    return f"{moment:%m-%d %H:%M}" if first else f"{moment:%H:%M}"
