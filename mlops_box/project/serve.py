"""``[serve]``: how a model is served, and how a new version takes over."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from mlops_box.project.declared import Declared, Duration, PositiveDuration


class Rollout(Declared):
    """How a new version takes over: shadow first, then these percentages, a step each."""

    shadow: Duration | None = None
    canary: list[Annotated[int, Field(gt=0, lt=100)]] = Field(default_factory=list)
    step: PositiveDuration = timedelta(minutes=10)


class Serve(Declared):
    """How the model is served."""

    rollout: Rollout = Field(default_factory=Rollout)
    latency: PositiveDuration | None = Field(
        None, description="Bounds the size of a batch so that a request takes about this long."
    )
    max_rows: int = Field(1024, ge=1, le=100_000, description="Rows one request may carry.")
    log: Literal["required", "best-effort"] = Field(
        "required",
        description="required: no answer without its log record; best-effort: answer even if the disk is full.",
    )
