"""What every section of ``mlops.toml`` is made of."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from mlops_box.ids import NAME_PATTERN
from mlops_box.units import DURATION_PATTERN, SIZE_PATTERN, parse_duration, parse_share, parse_size

Name = Annotated[str, Field(pattern=NAME_PATTERN)]


def _read_duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        # A bare number hides its unit: 400 what?
        raise ValueError(f"{value!r} is no duration; write for example 10ms, 90s, 10m, 1h, 7d or 2w")
    return parse_duration(value)


def _seconds_text(value: timedelta) -> str:
    return f"{value.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta():
        raise ValueError("it must be longer than nothing")
    return value


def _read_size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no size; write for example 512kB, 64MB or 1.5GB")
    return parse_size(value)


Duration = Annotated[
    timedelta,
    BeforeValidator(_read_duration),
    PlainSerializer(_seconds_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["10ms", "10m", "1h", "7d"]}),
]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
Share = Annotated[
    float,
    BeforeValidator(parse_share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^[0-9.]+%?$"},
            ],
            "examples": ["1%", 0.01],
        }
    ),
]
Size = Annotated[
    int,
    BeforeValidator(_read_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "description": "bytes"},
                {"type": "string", "pattern": SIZE_PATTERN},
            ],
            "examples": ["64MB", "1.5GB"],
        }
    ),
]
Scalar = str | int | float | bool
ColumnType = Literal["boolean", "bigint", "double", "varchar", "timestamp", "date"]


class Declared(BaseModel):
    """Unknown keys are refused: a typing error must never be read as 'not set'."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)


def check_cron(text: str) -> str:
    """Return a cron expression of five fields if it is one.

    Raises:
        ValueError: It is none.
    """
    from datetime import UTC, datetime

    from cronsim import CronSim, CronSimError

    try:
        CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(f"{text!r} is no cron expression: {error}") from None
    return text
