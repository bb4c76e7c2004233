"""What the data room hands to others."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Door = Literal["ingest", "training", "online", "score"]
ColumnType = Literal["boolean", "bigint", "double", "varchar", "timestamp", "date"]


@dataclass(frozen=True)
class Column:
    """A column and its type, in the vocabulary of the contract."""

    name: str
    type: ColumnType


@dataclass(frozen=True)
class RuleHit:
    """A row rule (``column.rule``) that rows broke: how many, and up to three of them."""

    rule: str
    rows: int
    examples: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class BatchCheck:
    """A rule about the batch as a whole: its verdict, the value seen and the limit."""

    rule: str
    ok: bool
    message: str
    value: float | str | None = None
    limit: float | str | None = None


@dataclass(frozen=True)
class Verdict:
    """What the contract said of one batch. Always ``rows_in == rows_good + rows_quarantined + rows_rejected``.

    Rejected rows could not even be parsed; quarantined rows were parsed and broke a rule.
    """

    accepted: bool
    rows_in: int
    rows_good: int
    rows_quarantined: int
    rows_rejected: int
    row_rules: tuple[RuleHit, ...] = ()
    batch_checks: tuple[BatchCheck, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """An immutable, checked table. ``id`` is the SHA-256 of its Parquet file: same data, same id.

    ``lineage`` tells where it came from: source files with size and digest, query, contract digest, program version.
    """

    id: str
    project: str
    rows: int
    schema: tuple[Column, ...]
    time_column: str | None
    time_min: datetime | None
    time_max: datetime | None
    verdict: Verdict
    created_at: datetime
    lineage: dict[str, Any] = field(default_factory=dict)
    quarantine_digest: str | None = None
    rejects_digest: str | None = None
