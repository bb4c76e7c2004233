"""Event times of rows, and times as text."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Sequence

from mlops_box.data.times import parse_date_text, parse_time_text
from mlops_box.serving.columns import Columns

_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


def utc_text(at_us: int) -> str:
    """Microseconds since 1970 as RFC 3339 in UTC.

    >>> utc_text(1_500_000)
    '1970-01-01T00:00:01.500000Z'
    """
    return (_EPOCH + timedelta(microseconds=at_us)).isoformat(timespec="microseconds") + "Z"


def event_times(rows: Sequence[dict[str, Any]] | Columns, column: str | None) -> list[int | None]:
    """When each row happened, in microseconds since 1970; ``None`` where it does not say."""
    if column is None:
        return [None] * len(rows)
    if not isinstance(rows, Columns):
        return [_moment(row.get(column)) for row in rows]
    values = rows.values.get(column)
    if values is None:
        return [None] * len(rows)
    if values.dtype.kind == "M":
        values = values.astype("datetime64[us]").astype(object)
    return [_moment(value) for value in values.tolist()]


def _moment(value: Any) -> int | None:
    if isinstance(value, str):
        moment = parse_time_text(value)
        if moment is None:
            day = parse_date_text(value)
            moment = None if day is None else datetime(day.year, day.month, day.day)
    else:
        moment = value if isinstance(value, datetime) else None
    if moment is None:
        return None
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone.utc).replace(tzinfo=None)
    return (moment - _EPOCH) // _MICROSECOND
