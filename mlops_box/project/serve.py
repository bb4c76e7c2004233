"""``[serve]``: how a model is served, and how a new version takes over."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from mlops_box.project.declared import Declared, Duration, PositiveDuration, Share

_LEAST_PATIENCE = timedelta(days=1)


class RolloutLimits(Declared):
    """How much worse than the champion a new version may be.

    It is promoted once it is proven to stay within these limits, and rolled back once it is proven to be worse (for
    ``errors`` and realised quality: worse at all). While realised quality leans against it, it is held.
    """

    errors: Share = Field(0.02, gt=0, description="More requests that fail or are answered by no number.")
    latency: float = Field(
        1.5, gt=1, description="Times slower, at any quantile; less than 1 ms never counts."
    )
    predictions: Share = Field(
        0.3, gt=0, description="Largest gap between the distributions of the two versions' predictions."
    )
    disagreement: Share = Field(
        0.4,
        gt=0,
        description="Shadow: rows with another class, or a number further off than half the predictions' spread.",
    )


class Rollout(Declared):
    """How a new version takes over: shadow first, then these percentages, a step each.

    Declares neither shadow nor canary: an accepted version becomes champion at once.
    """

    shadow: PositiveDuration | None = Field(None, description="How long it answers copies of requests first.")
    canary: list[Annotated[int, Field(gt=0, lt=100)]] = Field(
        default_factory=list, description="Percent of the requests it answers, a step each, growing."
    )
    step: PositiveDuration = Field(
        timedelta(minutes=10), description="How long a canary step lasts at least."
    )
    key: str | None = Field(
        None,
        description="The column whose value decides who answers, always the same; None: each request by itself.",
    )
    min_requests: int = Field(
        200, ge=20, description="Requests the new version answers at least, in each stage."
    )
    max_duration: PositiveDuration | None = Field(
        None,
        description="Not decided by then, it is rolled back. None: 4 times the declared stages, at least a day.",
    )
    cooldown: Duration = Field(
        timedelta(hours=1),
        description="Least time after a rejection or rollback before the next version starts.",
    )
    timeout: PositiveDuration = Field(
        timedelta(seconds=1), description="After this time the champion answers in place of the new version."
    )
    limits: RolloutLimits = Field(default_factory=RolloutLimits)

    @property
    def is_declared(self) -> bool:
        return self.shadow is not None or bool(self.canary)

    @property
    def shortest(self) -> timedelta:
        """The least time all stages take."""
        return (self.shadow or timedelta()) + len(self.canary) * self.step

    @property
    def longest(self) -> timedelta:
        """The time after which an undecided rollout is given up."""
        return self.max_duration or max(4 * self.shortest, _LEAST_PATIENCE)

    @field_validator("canary")
    @classmethod
    def _grows(cls, value: list[int]) -> list[int]:
        if any(later <= earlier for earlier, later in pairwise(value)):
            raise ValueError(f"{value} do not grow from step to step")
        return value

    @model_validator(mode="after")
    def _has_the_time(self) -> Rollout:
        if self.max_duration is not None and self.max_duration <= self.shortest:
            raise ValueError(f"max_duration must be longer than all stages together ({self.shortest})")
        return self


class Serve(Declared):
    """How the model is served."""

    rollout: Rollout = Field(default_factory=Rollout)
    latency: PositiveDuration | None = Field(
        None, description="Bounds the size of a batch so that a request takes about this long."
    )
    max_rows: int = Field(1024, ge=1, le=100_000, description="Rows one request may carry.")
    max_queued: int | None = Field(
        None,
        ge=1,
        le=10_000_000,
        description="Rows that may wait for their turn; more are refused (429). None: 8192, at least four full requests.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="cuda: the GPU, or the CPU with a warning where there is none; auto: the GPU where it is there and "
        "faster.",
    )
    log: Literal["required", "best-effort"] = Field(
        "required",
        description="required: no answer without its log record; best-effort: answer even if the disk is full.",
    )
    log_sample: Share = Field(
        1.0,
        description="Share of the requests whose rows are logged; answers, ids and times are logged always.",
    )
    redact: list[str] = Field(
        default_factory=list,
        description="Columns that never reach the disk: null is logged in their place, and they are not watched for drift.",
    )

    @model_validator(mode="after")
    def _a_full_request_fits(self) -> Serve:
        if self.max_queued is not None and self.max_queued < self.max_rows:
            raise ValueError(
                f"max_queued = {self.max_queued} is less than max_rows = {self.max_rows}: a full request would never be taken"
            )
        return self
