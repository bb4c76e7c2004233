"""The model card: one HTML file that needs nothing else, made from what a training found.

After Mitchell et al., "Model Cards for Model Reporting", FAT* 2019: what it is for, how it was made, how well it does,
on whom, and by which rules it was let in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlops_box.data.values import Snapshot
from mlops_box.evaluation.compare import Comparison
from mlops_box.evaluation.importance import Importance
from mlops_box.evaluation.metrics import HIGHER_IS_BETTER, better_by
from mlops_box.evaluation.page import page_environment
from mlops_box.evaluation.slices import Slice
from mlops_box.models.values import GateResult, Signature


@dataclass(frozen=True)
class Picture:
    """A plot: its caption and its ``<svg>`` element (ours, trusted markup)."""

    title: str
    note: str
    svg: str


@dataclass(frozen=True)
class CardFacts:
    """Everything the card tells.

    Attributes:
        intended_use: One line.
        metric: The metric that slices and importance are shown in.
        lineage: Label and value, in the order to show.
    """

    model: str
    created_at: datetime
    accepted: bool
    intended_use: str
    signature: Signature
    snapshot: Snapshot
    rows_train: int
    rows_test: int
    split: str
    metric: str
    metrics: dict[str, float]
    comparison: Comparison | None
    gates: tuple[GateResult, ...]
    slices: tuple[Slice, ...]
    importance: tuple[Importance, ...]
    pictures: tuple[Picture, ...] = ()
    lineage: tuple[tuple[str, str], ...] = field(default_factory=tuple)


@dataclass(frozen=True)
class MetricLine:
    """One row of the table of metrics; ``better`` is ``None`` where there is nothing to compare with."""

    name: str
    value: float
    champion: float | None
    difference: float | None
    better: bool | None
    direction: str


def render_card(facts: CardFacts) -> bytes:
    """The card as UTF-8 HTML. Names and values from outside are escaped; no script, no request leaves the page."""
    from markupsafe import Markup

    environment = page_environment()
    html = environment.get_template("card.html.j2").render(
        facts=facts,
        metric_lines=metric_lines(facts.metrics, facts.comparison),
        slice_groups=_slice_groups(facts),
        pictures=[(picture, Markup(picture.svg)) for picture in facts.pictures],
        column_types={column.name: column.type for column in facts.snapshot.schema},
    )
    return html.encode()


def metric_lines(metrics: dict[str, float], comparison: Comparison | None) -> list[MetricLine]:
    """The metrics beside the champion's on the same rows."""
    lines = []
    for name, value in metrics.items():
        rival = comparison.metrics.get(name) if comparison else None
        difference = value - rival if rival is not None else None
        gain = better_by(name, value, rival) if rival is not None else None
        better = None if gain is None or abs(gain) < 1e-12 else gain > 0
        direction = "higher is better" if name in HIGHER_IS_BETTER else "lower is better"
        lines.append(MetricLine(name, value, rival, difference, better, direction))
    return lines


def _slice_groups(facts: CardFacts) -> list[dict[str, Any]]:
    groups = []
    for by in dict.fromkeys(part.by for part in facts.slices):
        parts = [part for part in facts.slices if part.by == by]
        largest = max((part.metrics.get(facts.metric, 0.0) for part in parts), default=0.0)
        rows = [
            {
                "value": part.value,
                "rows": part.rows,
                "metric": part.metrics.get(facts.metric),
                "share": _share(part.metrics.get(facts.metric), largest),
            }
            for part in parts
        ]
        groups.append({"by": by, "rows": rows})
    return groups


def _share(value: float | None, largest: float) -> int:
    """Length of a bar in per cent of the longest."""
    if value is None or largest <= 0:
        return 0
    return round(100 * max(value, 0.0) / largest)


def describe_use(description: str, signature: Signature, snapshot: Snapshot) -> str:
    """One honest line on what the model is for: the person's own words, then what the data allow."""
    when = (
        f", as seen from {snapshot.time_min:%Y-%m-%d} to {snapshot.time_max:%Y-%m-%d}"
        if snapshot.time_min and snapshot.time_max
        else ""
    )
    limits = (
        f"Predicts {signature.target} for rows like those it was trained on{when}; rows that break the data contract are "
        f"refused, and anything else is outside its use."
    )
    return f"{description.rstrip('. ')}. {limits}" if description.strip() else limits


def shown_importance(found: Sequence[Importance]) -> list[dict[str, Any]]:
    """Importance as plain values, for JSON."""
    return [{"feature": item.feature, "mean": item.mean, "spread": item.spread} for item in found]
