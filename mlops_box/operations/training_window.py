"""Which rows of a snapshot a training learns from: ``[retrain] window``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_box.clock import isoformat, parse_time
from mlops_box.monitoring.decisions import Decision
from mlops_box.project import Project

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class TrainingWindow:
    """The rows that were chosen.

    Attributes:
        since: Their earliest event time; ``None`` for all rows.
        note: What a person should know, where the declared window could not be kept.
    """

    table: pa.Table
    since: datetime | None = None
    note: str | None = None

    def to_dict(self, declared: str) -> dict[str, Any]:
        """For a version's lineage."""
        return {
            "declared": declared,
            "since": isoformat(self.since) if self.since else None,
            "note": self.note,
        }


def choose_rows(table: pa.Table, project: Project, decision: Decision | None) -> TrainingWindow:
    """The rows to learn from and be judged on.

    ``sliding`` counts back from the newest row, so that the same snapshot always gives the same rows. ``since-drift``
    needs a decision that says when the drift began, and as many rows since then as the contract asks of a batch: else
    all rows are taken and the note says why.

    Args:
        decision: The policy's decision that started this training, if one did.
    """
    policy, time = project.retrain, project.data.time
    if policy.window == "expanding" or time is None:
        return TrainingWindow(table)
    if policy.sliding is not None:
        newest = _newest(table, time)
        if newest is None:
            return TrainingWindow(table)
        since = newest - policy.sliding
        return TrainingWindow(rows_since(table, time, since), since)
    text = decision.facts.get("since") if decision is not None else None
    if text is None:
        return TrainingWindow(table, note="learnt from all rows: no drift says since when")
    since = parse_time(text)
    chosen = rows_since(table, time, since)
    needed = max(project.data.contract.rows.min, project.monitor.min_rows)
    if chosen.num_rows < needed:
        return TrainingWindow(
            table,
            note=f"learnt from all rows: only {chosen.num_rows} since {text}, {needed} are needed",
        )
    return TrainingWindow(chosen, since)


def _newest(table: pa.Table, time: str) -> datetime | None:
    import pyarrow.compute as pc

    value = pc.max(_instants(table, time)).as_py()
    return value.replace(tzinfo=UTC) if value is not None else None


def rows_since(table: pa.Table, time: str, since: datetime) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    limit = pa.scalar(since.astimezone(UTC).replace(tzinfo=None), pa.timestamp("us"))
    return table.filter(pc.greater_equal(_instants(table, time), limit))


def _instants(table: pa.Table, time: str) -> pa.ChunkedArray:
    import pyarrow as pa

    return table[time].cast(pa.timestamp("us"))
