"""``[edge]``: what a bundle tells the device that runs it, and what this box expects of it."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from mlops_box.project.declared import Declared, PositiveDuration, Share, Size


class Edge(Declared):
    """How a model is run on a device. Bundles carry these values, signed: what is changed here counts from the next export."""

    epoch: int = Field(
        0,
        ge=0,
        lt=2**31,
        description="Raise it when no older bundle may ever come back: devices refuse an epoch below their own.",
    )
    log_size: Size = Field(
        64_000_000,
        ge=1_000_000,
        description="Disk the device's log may fill; beyond it the oldest records go, counted.",
    )
    log_sample: Share | None = Field(
        None, description="Share of the requests whose rows are logged there; None: as [serve] says."
    )
    redact: list[str] | None = Field(
        None, description="Columns that never reach the device's disk; None: as [serve] says."
    )
    memory: Size = Field(
        256_000_000,
        ge=64_000_000,
        description="A version whose server takes more memory (RSS) than this is rolled back.",
    )
    max_rows: int = Field(256, ge=1, le=100_000, description="Rows one request may carry there.")
    silent_after: PositiveDuration = Field(
        timedelta(days=7), description="A device that was not seen for so long raises an alert on the box."
    )
