"""Durations, shares and sizes as people write and read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

DURATION_PATTERN = r"^\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d|w)\s*$"
_DURATION = re.compile(DURATION_PATTERN)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_duration(text: str) -> timedelta:
    """Read ``10ms``, ``90s``, ``10m``, ``1h``, ``400d`` or ``2w``.

    Raises:
        ValueError: Another form.
    """
    match = _DURATION.match(text)
    if not match:
        raise ValueError(f"{text!r} is no duration; write for example 10ms, 90s, 10m, 1h, 7d or 2w")
    try:
        return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])
    except OverflowError:
        raise ValueError(f"{text!r} is longer than any calendar") from None


@dataclass(frozen=True)
class Rate:
    """So many in so much time."""

    count: int
    per: timedelta


_RATE = re.compile(r"^\s*([1-9]\d*)\s*/\s*(hour|day|week|month|year)\s*$")
# A month is 30 days and a year 365: a rate is a budget, not a calendar.
_PER = {"hour": 1 / 24, "day": 1, "week": 7, "month": 30, "year": 365}


def parse_rate(text: str) -> Rate:
    """Read ``2/week`` or ``1/month``.

    Raises:
        ValueError: Another form.
    """
    match = _RATE.match(text)
    if not match:
        raise ValueError(f"{text!r} is no rate; write for example 2/week, 1/month")
    return Rate(int(match[1]), timedelta(days=_PER[match[2]]))


def parse_share(value: object) -> float:
    """Read ``"1%"`` or ``0.01`` as a share between 0 and 1.

    Raises:
        ValueError: Another form, or outside 0..1.
    """
    if isinstance(value, bool) or not isinstance(value, str | float | int):
        raise ValueError(f"{value!r} is no share; write for example 1% or 0.01")
    try:
        share = float(value[:-1]) / 100 if isinstance(value, str) and value.endswith("%") else float(value)
    except ValueError:
        raise ValueError(f"{value!r} is no share; write for example 1% or 0.01") from None
    if not 0 <= share <= 1:
        raise ValueError(f"{value!r} is outside 0% to 100%")
    return share


def format_duration(seconds: float) -> str:
    """Short and human: ``350ms``, ``4.2s``, ``3m05s``, ``2h10m``, ``5d03h``."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes:02d}m"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02d}h"


SIZE_PATTERN = r"^\s*([0-9]+(?:\.[0-9]+)?)\s*(B|kB|MB|GB)\s*$"
_SIZE = re.compile(SIZE_PATTERN)
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}


def parse_size(text: str) -> int:
    """Read ``64MB``, ``1.5 GB`` or ``512 kB`` as bytes; units are powers of 1000, as :func:`format_size` writes them.

    Raises:
        ValueError: Another form.
    """
    match = _SIZE.match(text)
    if not match:
        raise ValueError(f"{text!r} is no size; write for example 512kB, 64MB or 1.5GB")
    return round(float(match[1]) * _BYTES[match[2]])


def format_size(size_bytes: float) -> str:
    """``532 B``, ``1.4 kB``, ``22.0 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < (1000 if unit == "B" else 999.95):
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"
