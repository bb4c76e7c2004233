"""What two versions were made from: the drift between their references, and metrics on the same slices."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlops_box.box import Box
from mlops_box.errors import BoxError, IntegrityError
from mlops_box.models.values import EVALUATION_FILE, REFERENCE_FILE, ROWS_FILE, ModelVersion

if TYPE_CHECKING:
    from mlops_box.monitoring.values import Finding


@dataclass(frozen=True)
class DataDiff:
    """The rows of ``b`` against the reference of ``a``; without a finding, ``problem`` says why there is none."""

    finding: Finding | None
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {"finding": self.finding.to_dict() if self.finding else None, "problem": self.problem}


@dataclass(frozen=True)
class SliceChange:
    """A metric where column ``by`` is ``value``; ``None`` where a side does not have the slice or the metric."""

    by: str
    value: str
    metric: str
    a: float | None
    b: float | None
    rows_a: int | None
    rows_b: int | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare_data(box: Box, a: ModelVersion, b: ModelVersion) -> DataDiff:
    """Compare the data of two versions, column by column; columns that the log may not hold are left aside."""
    from mlops_box.monitoring.drift import DriftDetector
    from mlops_box.monitoring.reference import PREDICTION, Reference
    from mlops_box.monitoring.reservoir import rows_from_bytes
    from mlops_box.operations.monitor_reference import References

    for version, name in ((a, REFERENCE_FILE), (b, ROWS_FILE)):
        if name not in version.files:
            return DataDiff(None, f"{version.ref} carries no {name}")
    try:
        whole = References(box).of(a)
        # The rows hold what was asked, not what was answered.
        columns = tuple(column for column in whole.columns if column.name != PREDICTION)
        rows = rows_from_bytes(box.models.file(b, ROWS_FILE))
        return DataDiff(DriftDetector(Reference(whole.rows, columns)).check(rows))
    except BoxError as error:
        return DataDiff(None, error.message)


def compare_slices(box: Box, a: ModelVersion, b: ModelVersion) -> tuple[SliceChange, ...]:
    """The task's own metric on every slice that either version was measured on."""
    from mlops_box.evaluation.metrics import DEFAULT_METRIC

    if a.task != b.task:
        return ()
    metric = DEFAULT_METRIC[a.task]
    of_a, of_b = _slices(box, a), _slices(box, b)
    return tuple(
        SliceChange(
            *key, metric, _metric(of_a.get(key), metric), _metric(of_b.get(key), metric),
            of_a.get(key, {}).get("rows"), of_b.get(key, {}).get("rows"),
        )
        for key in dict.fromkeys([*of_a, *of_b])
    )  # fmt: skip


def _slices(box: Box, version: ModelVersion) -> dict[tuple[str, str], dict[str, Any]]:
    if EVALUATION_FILE not in version.files:
        return {}
    try:
        raw = json.loads(box.models.file(version, EVALUATION_FILE))
        return {(part["by"], part["value"]): part for part in raw["slices"]}
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"the slices of {version.ref} cannot be read: {error}", hint="run mlops-box verify"
        ) from error


def _metric(part: dict[str, Any] | None, name: str) -> float | None:
    return None if part is None else part["metrics"].get(name)
