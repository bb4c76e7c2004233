"""``[notify]``: who is told of alerts, suggestions and rollouts, and how often."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import cached_property
from typing import Literal

from pydantic import Field, field_validator

from mlops_box.project.declared import Declared, Duration, PositiveDuration
from mlops_box.units import Rate, parse_rate

_TARGET = re.compile(r"^(env:[A-Za-z_][A-Za-z0-9_]*|[a-z][a-z0-9+.-]*://\S+)$")


class Notify(Declared):
    """Messages to people; none without a target."""

    targets: list[str] = Field(
        default_factory=list,
        description="Apprise URLs (mailto://, slack://, json://localhost:8080 ...); env:NAME reads one from the environment, "
        "so that a secret stays out of this file.",
    )
    least: Literal["info", "warning", "error"] = Field("warning", description="Nothing milder is told.")
    digest: Duration = Field(
        timedelta(minutes=15),
        description="At most one message in this time; what comes meanwhile is gathered.",
    )
    limit: str = Field("20/day", description="At most so many messages to a target; more are gathered.")
    remind: PositiveDuration | None = Field(
        timedelta(days=1), description="An alert that nobody acknowledged is told again after this time."
    )

    @cached_property
    def rate(self) -> Rate:
        return parse_rate(self.limit)

    @field_validator("limit")
    @classmethod
    def _limit(cls, value: str) -> str:
        parse_rate(value)
        return value

    @field_validator("targets")
    @classmethod
    def _are_targets(cls, value: list[str]) -> list[str]:
        for index, target in enumerate(value):
            if not _TARGET.match(target):
                # Not quoted: it may hold a secret.
                raise ValueError(f"target {index + 1} is neither an Apprise URL (scheme://...) nor env:NAME")
        return value
