"""The rows a version did not learn from, found again: same snapshot, same window, same split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_box.box import Box
from mlops_box.clock import parse_time
from mlops_box.errors import UsageError
from mlops_box.models.values import ModelVersion
from mlops_box.operations.training_window import rows_since
from mlops_box.project import Split

if TYPE_CHECKING:
    import pyarrow as pa


def held_out_rows(box: Box, version: ModelVersion) -> pa.Table:
    """The held-out rows of ``version`` that have a target.

    Raises:
        UsageError: They are not the rows that the version was judged on: the declaration's time column changed since.
        NotFoundError: The snapshot or the project is not there any more.
        IntegrityError: The snapshot is damaged.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from mlops_box.data.splits import split

    time = box.projects.get(version.project).declaration.data.time
    table = box.snapshots.table(box.snapshots.get(version.snapshot_id))
    since = (version.lineage.get("window") or {}).get("since")
    if since is not None and time is not None:
        table = rows_since(table, time, parse_time(since))
    declared = Split.model_validate(version.lineage["split"])
    indices = split(table, declared, time=time, seed=int(version.lineage["seed"]))
    rows = table.take(pa.array(indices.test))
    rows = rows.filter(pc.invert(pc.is_null(rows.column(version.signature.target), nan_is_null=True)))
    judged_on = version.lineage.get("rows_test")
    if rows.num_rows != judged_on:
        raise UsageError(
            f"the held-out rows of {version.ref} cannot be told any more: {rows.num_rows} now, {judged_on} then"
        )
    return rows
