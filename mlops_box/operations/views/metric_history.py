"""The metrics of a model over its versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlops_box.box import Box
from mlops_box.db import Row
from mlops_box.errors import NotFoundError
from mlops_box.operations.views.models import headline
from mlops_box.operations.views.reading import mapping, moment, number, sequence

HISTORY_VERSIONS = 200


@dataclass(frozen=True)
class MetricPoint:
    """One version's value; ``None`` where it could not be computed, or another task had no such metric."""

    number: int
    value: float | None
    accepted: bool
    champion: bool
    created_at: datetime | None


@dataclass(frozen=True)
class MetricHistory:
    """One metric over the versions, oldest first.

    Attributes:
        higher_is_better: ``None``: a metric that this program does not know.
        limit: What the newest version with a gate on this metric was held against.
        limit_of: That version's number.
    """

    name: str
    higher_is_better: bool | None
    limit: float | None
    limit_of: int | None
    points: tuple[MetricPoint, ...]


@dataclass(frozen=True)
class ModelHistory:
    """All metrics of a model's newest versions, the main one first. ``versions``: how many there are in all."""

    model: str
    versions: int
    metrics: tuple[MetricHistory, ...]


def model_history(box: Box, model: str, *, limit: int = HISTORY_VERSIONS) -> ModelHistory:
    """The metrics of the newest versions.

    Raises:
        NotFoundError: The model has no version.
    """
    found = box.db.read(
        "SELECT versions.number, task, state, metrics, gates, created_at, aliases.number IS NOT NULL AS champion, "
        "COUNT(*) OVER () AS total FROM versions LEFT JOIN aliases ON aliases.model = versions.model "
        "AND aliases.number = versions.number AND alias = 'champion' "
        "WHERE versions.model = ? ORDER BY versions.number DESC LIMIT ?",
        (model, limit),
    )
    if not found:
        raise NotFoundError(f"model {model} has no version", hint="mlops-box models list")
    rows = list(reversed(found))
    return ModelHistory(model, found[0]["total"], tuple(_metric(name, rows) for name in _names(rows)))


def _names(rows: Sequence[Row]) -> list[str]:
    """Every metric that a version has; first the one that stands for the newest version that has any."""
    held = [mapping(row["metrics"]) for row in rows]
    leading = [headline(row["task"], metrics) for row, metrics in zip(rows, held, strict=True)]
    first = [found[0] for found in reversed(leading) if found is not None][:1]
    return list(dict.fromkeys([*first, *(name for metrics in reversed(held) for name in metrics)]))


def _metric(name: str, rows: Sequence[Row]) -> MetricHistory:
    from mlops_box.evaluation.metrics import HIGHER_IS_BETTER, METRICS

    known = any(name in names for names in METRICS.values())
    limits = [(limit, row["number"]) for row in rows if (limit := _limit(name, row)) is not None]
    limit, limit_of = limits[-1] if limits else (None, None)
    return MetricHistory(
        name=name,
        higher_is_better=name in HIGHER_IS_BETTER if known else None,
        limit=limit,
        limit_of=limit_of,
        points=tuple(
            MetricPoint(
                row["number"], number(mapping(row["metrics"]).get(name)), row["state"] == "accepted",
                bool(row["champion"]), moment(row["created_at"]),
            )
            for row in rows
        ),
    )  # fmt: skip


def _limit(name: str, row: Row) -> float | None:
    """A gate on a metric bears its name."""
    gates = [gate for gate in sequence(row["gates"]) if isinstance(gate, dict) and gate.get("name") == name]
    return number(gates[0].get("limit")) if gates else None
