"""``[retrain]``: what happens when something asks for a new model."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from functools import cached_property
from typing import Literal

from pydantic import Field, field_validator

from mlops_box.project.declared import Declared, Duration, check_cron
from mlops_box.units import DURATION_PATTERN, Rate, format_duration, parse_duration, parse_rate

Mode = Literal["off", "suggest", "auto"]
TriggerName = Literal["drift", "quality", "rows", "age", "schedule"]
_HOURS = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$")
_SLIDING = re.compile(r"^sliding:(.+)$")


class Retrain(Declared):
    """What happens when an alert, new rows, age or the calendar ask for a new model."""

    mode: Mode = Field(
        "suggest",
        description="off: never; suggest: a person accepts; auto: it trains, gates and rollout decide.",
    )
    modes: dict[TriggerName, Mode] = Field(
        default_factory=dict, description='What differs from `mode`, by trigger: { drift = "auto" }.'
    )
    on: list[str] = Field(
        default_factory=lambda: ["drift", "quality"],
        description="drift, quality, rows:5000 (new rows), age:30d (of the champion), schedule:CRON (UTC).",
    )
    cooldown: Duration = Field(timedelta(hours=12), description="Least time between two retrainings.")
    budget: str | None = Field(
        None,
        description="At most so many retrainings by the policy: 2/week. None: as many as the cooldown allows.",
    )
    quiet: str | None = Field(
        None, description="No automatic start in these hours, UTC: 22:00-06:00. It is made up for afterwards."
    )
    window: str = Field(
        "expanding",
        description="Rows a retraining learns from, by event time: expanding (all), sliding:90d (the newest), since-drift.",
    )

    def mode_of(self, trigger: TriggerName) -> Mode:
        return self.modes.get(trigger, self.mode)

    @cached_property
    def rate(self) -> Rate | None:
        """The budget as a number of retrainings and the time they are counted over."""
        return parse_rate(self.budget) if self.budget is not None else None

    @property
    def rows(self) -> int | None:
        """The N of ``rows:N``; the smallest where there are several."""
        return min((int(text) for text in self._arguments("rows")), default=None)

    @property
    def age(self) -> timedelta | None:
        """The duration of ``age:30d``; the shortest where there are several."""
        return min((parse_duration(text) for text in self._arguments("age")), default=None)

    @property
    def crons(self) -> tuple[str, ...]:
        return tuple(self._arguments("schedule"))

    @property
    def sliding(self) -> timedelta | None:
        """The length of ``sliding:90d``."""
        found = _SLIDING.match(self.window)
        return parse_duration(found[1]) if found else None

    def quiet_until(self, now: datetime) -> datetime | None:
        """When the quiet hours end, if ``now`` lies in them."""
        found = _HOURS.match(self.quiet) if self.quiet else None
        if found is None:
            return None
        begin, end = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
        moment = now.astimezone(UTC)
        clock = moment.time()
        inside = begin <= clock < end if begin < end else clock >= begin or clock < end
        if not inside:
            return None
        until = moment.replace(hour=end.hour, minute=end.minute, second=0, microsecond=0)
        return until if until > moment else until + timedelta(days=1)

    def _arguments(self, name: str) -> list[str]:
        return [item.partition(":")[2] for item in self.on if item.startswith(f"{name}:")]

    @field_validator("on")
    @classmethod
    def _triggers(cls, value: list[str]) -> list[str]:
        for trigger in value:
            name, _, argument = trigger.partition(":")
            check = _TRIGGERS.get(name)
            if check is None or not check(argument):
                raise ValueError(
                    f"{trigger!r} is no trigger; write drift, quality, rows:5000, age:30d or schedule:0 3 * * 1"
                )
        return value

    @field_validator("budget")
    @classmethod
    def _budget(cls, value: str | None) -> str | None:
        if value is not None:
            parse_rate(value)
        return value

    @field_validator("quiet")
    @classmethod
    def _quiet(cls, value: str | None) -> str | None:
        if value is not None:
            found = _HOURS.match(value)
            if not found or found.group(1, 2) == found.group(3, 4):
                raise ValueError(f"{value!r} are no quiet hours; write for example 22:00-06:00 (UTC)")
        return value

    @field_validator("window")
    @classmethod
    def _window(cls, value: str) -> str:
        found = _SLIDING.match(value)
        if found:
            if parse_duration(found[1]) <= timedelta():
                raise ValueError("a sliding window must be longer than nothing")
        elif value not in ("expanding", "since-drift"):
            raise ValueError(f"{value!r} is no window; write expanding, sliding:90d or since-drift")
        return value


def _is_duration(text: str) -> bool:
    return bool(re.match(DURATION_PATTERN, text)) and parse_duration(text) > timedelta()


def _is_cron(text: str) -> bool:
    try:
        check_cron(text)
    except ValueError:
        return False
    return True


_TRIGGERS: dict[str, Callable[[str], bool]] = {
    "drift": lambda text: text == "",
    "quality": lambda text: text == "",
    "rows": lambda text: re.fullmatch(r"[1-9]\d*", text) is not None,
    "age": _is_duration,
    "schedule": _is_cron,
}


def window_text(policy: Retrain) -> str:
    """The training window in words.

    >>> window_text(Retrain(window="sliding:90d"))
    'the newest 90d00h'
    """
    if policy.sliding is not None:
        return f"the newest {format_duration(policy.sliding.total_seconds())}"
    return "all rows" if policy.window == "expanding" else "the rows since the drift began"
