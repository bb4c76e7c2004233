"""``[monitor]``: how live traffic is watched."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property

from pydantic import Field, field_validator

from mlops_box.project.declared import Declared, Duration, PositiveDuration
from mlops_box.units import Rate, parse_rate


class Monitor(Declared):
    """How live traffic is watched."""

    window: PositiveDuration = timedelta(hours=1)
    ground_truth_delay: Duration = timedelta(days=1)
    min_rows: int = Field(200, ge=10, description="A window with fewer rows says 'cannot tell'.")
    effect: float = Field(
        0.1, gt=0, lt=1, description="Smallest KS distance (or Cramér's V) that counts as drift."
    )
    false_alarms: str = Field(
        "1/month",
        description="False drift pages a model may send: limits follow from it, the window's length and the features.",
    )
    fdr: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Allowed share of false findings among the features (Benjamini-Hochberg); None: from false_alarms.",
    )
    quality: float = Field(
        0.2, gt=0, description="Relative loss of the realised metric, against the held-out rows, that alarms."
    )

    @cached_property
    def budget(self) -> Rate:
        """``false_alarms`` as a number and the time it is counted over."""
        return parse_rate(self.false_alarms)

    @field_validator("false_alarms")
    @classmethod
    def _false_alarms(cls, value: str) -> str:
        parse_rate(value)
        return value
