"""``[monitor]``: how live traffic is watched."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from mlops_box.project.declared import Declared, Duration, PositiveDuration


class Monitor(Declared):
    """How live traffic is watched."""

    window: PositiveDuration = timedelta(hours=1)
    ground_truth_delay: Duration = timedelta(days=1)
    min_rows: int = Field(200, ge=10, description="A window with fewer rows says 'cannot tell'.")
    effect: float = Field(
        0.1, gt=0, lt=1, description="Smallest KS distance (or Cramér's V) that counts as drift."
    )
    fdr: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="Allowed share of false findings among the features (Benjamini-Hochberg).",
    )
    quality: float = Field(
        0.2, gt=0, description="Relative loss of the realised metric, against the held-out rows, that alarms."
    )
