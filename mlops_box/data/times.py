"""ISO 8601 texts as times, exactly as the SQL of :mod:`mlops_box.data.convert` reads them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

# ISO 8601, year 0001 to 9999; the same text is tried by both doors before their own parsers see the value.
_YEAR = r"(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
DATE_TEXT = _YEAR + r"-[0-9]{2}-[0-9]{2}"
TIME_TEXT = (
    DATE_TEXT + r"(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?"
    r"(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])?)?"
)
_DATE = re.compile(DATE_TEXT)
_TIME = re.compile(TIME_TEXT)


def parse_time_text(text: str) -> datetime | None:
    """A time in UTC, without zone; ``None`` when the text is none (or lies outside the years 1 to 9999).

    >>> parse_time_text("2026-01-01T01:00:00+01:00")
    datetime.datetime(2026, 1, 1, 0, 0)
    """
    if not _TIME.fullmatch(text):
        return None
    try:
        return without_zone(datetime.fromisoformat(text))
    except ValueError:
        return None


def parse_date_text(text: str) -> date | None:
    """A date; ``None`` when the text is none.

    >>> parse_date_text("2026-02-30") is None
    True
    """
    if not _DATE.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def without_zone(moment: datetime) -> datetime | None:
    """The same instant in UTC, naive; a naive time is taken as UTC. ``None`` where UTC leaves the years 1 to 9999."""
    if moment.tzinfo is None:
        return moment
    try:
        return moment.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        return None
