"""Drift as a person looks at it: the features of each model's newest window, and one feature over time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from mlops_box.box import Box
from mlops_box.db import Row
from mlops_box.errors import NotFoundError
from mlops_box.monitoring.values import FeatureFinding
from mlops_box.operations.views.findings import FindingView, read_finding
from mlops_box.operations.views.paging import Page, Query, Resource
from mlops_box.operations.views.reading import mapping, moment
from mlops_box.operations.views.shapes import Shape, read_shapes

HISTORY_WINDOWS = 200


@dataclass(frozen=True)
class DriftRow:
    """One column of a model's newest window.

    ``feature`` is ``None`` for a window of which no column could be judged (too few rows, say); ``effect`` belongs to
    ``test``: KS distance, Cramér's V or the change of the share of missing values, whichever is furthest beyond its limit.
    """

    model: str
    number: int
    feature: str | None
    kind: str | None
    outcome: str
    psi: float | None
    ks: float | None
    missing_reference: float | None
    missing: float | None
    rows: int
    starts_at: datetime | None
    ends_at: datetime | None
    reason: str | None
    shape: Shape | None = None

    @property
    def ref(self) -> str:
        return f"{self.model}@{self.number}"

    @property
    def key(self) -> str:
        return f"{self.model}/{self.feature or ''}"


@dataclass(frozen=True)
class WindowRow:
    """One window of a feature's history; ``finding`` is ``None`` where the column could not be judged."""

    number: int
    starts_at: datetime | None
    ends_at: datetime | None
    rows: int
    outcome: str
    finding: FeatureFinding | None


@dataclass(frozen=True)
class Triggered:
    """A decision that an alert led to, and the run that came of it."""

    id: str
    act: str
    state: str
    run_id: str | None


@dataclass(frozen=True)
class FeatureDetail:
    """One feature of one model: its newest window in full, and the windows before, oldest first.

    Attributes:
        alerts: The model's newest.
        decisions: What the policy made of these alerts, newest first.
    """

    model: str
    feature: str
    finding: FeatureFinding | None
    window: FindingView
    history: tuple[WindowRow, ...]
    shape: Shape | None
    alerts: tuple[str, ...]
    decisions: tuple[Triggered, ...]


_FEATURES = "COALESCE(json_extract(finding, '$.drift.features'), json_extract(finding, '$.features'), '[]')"
_TEST = "(SELECT test.value ->> '$.effect' FROM json_each(found.value -> '$.tests') AS test WHERE test.value ->> '$.test' IN {})"

_SELECT = f"""
SELECT w.model, w.number, w.rows, w.starts_at, w.ends_at, w.summary,
  found.value ->> '$.name' AS feature, found.value ->> '$.kind' AS kind,
  COALESCE(found.value ->> '$.outcome', finding -> '$.drift' ->> '$.outcome', finding ->> '$.outcome', 'cannot_tell')
    AS outcome,
  COALESCE(finding -> '$.drift' ->> '$.reason', finding ->> '$.reason') AS reason,
  found.value ->> '$.psi' AS psi, {_TEST.format("('ks', 'chi2')")} AS effect,
  found.value ->> '$.missing_reference' AS missing_reference, found.value ->> '$.missing' AS missing
FROM (SELECT DISTINCT model FROM windows) AS watched
JOIN windows AS w ON w.model = watched.model AND w.starts_at = (
  SELECT starts_at FROM windows WHERE model = watched.model AND json_valid(finding) ORDER BY starts_at DESC LIMIT 1
)
LEFT JOIN json_each({_FEATURES}) AS found
WHERE json_valid(w.finding)
"""


def _row(row: Row) -> DriftRow:
    return DriftRow(
        model=row["model"], number=row["number"], feature=row["feature"], kind=row["kind"], outcome=row["outcome"],
        psi=row["psi"], ks=row["effect"], missing_reference=row["missing_reference"], missing=row["missing"],
        rows=row["rows"], starts_at=moment(row["starts_at"]), ends_at=moment(row["ends_at"]), reason=row["reason"],
    )  # fmt: skip


DRIFT: Resource[DriftRow] = Resource(
    select=_SELECT,
    build=_row,
    fields={"model": "model", "feature": "feature", "kind": "kind", "state": "outcome"},
    text=("model", "feature", "outcome", "kind"),
    order="outcome <> 'drift', effect DESC NULLS LAST, model, feature",
    sorts={"model": "model", "feature": "feature", "psi": "psi", "effect": "effect", "missing": "missing"},
    problems="outcome <> 'fine'",
    scope="model",
)


def list_drift(box: Box, query: Query) -> Page[DriftRow]:
    """A page of features, drifted ones first, each with its small histograms."""
    page = DRIFT.page(box, query)
    shapes = {key: _newest_shapes(box, *key) for key in {(row.model, row.number) for row in page.rows}}
    rows = tuple(
        replace(row, shape=shapes[row.model, row.number].get(row.feature)) if row.feature else row
        for row in page.rows
    )
    return replace(page, rows=rows)


def feature_detail(box: Box, model: str, feature: str) -> FeatureDetail:
    """One feature of one model over its windows.

    Raises:
        NotFoundError: The model was never monitored.
    """
    windows = box.db.read(
        "SELECT * FROM windows WHERE model = ? ORDER BY starts_at DESC LIMIT ?", (model, HISTORY_WINDOWS)
    )
    if not windows:
        raise NotFoundError(f"model {model} has no monitored window", hint="mlops-box monitor")
    history = [_window(row, feature) for row in windows]
    alerts = tuple(
        row["id"]
        for row in box.db.read(
            "SELECT id FROM alerts WHERE model = ? ORDER BY updated_at DESC LIMIT 10", (model,)
        )
    )
    newest = windows[0]
    return FeatureDetail(
        model=model,
        feature=feature,
        finding=history[0].finding,
        window=read_finding(mapping(newest["finding"])),
        history=tuple(reversed(history)),
        shape=_newest_shapes(box, model, newest["number"]).get(feature),
        alerts=alerts,
        decisions=_triggered(box, alerts),
    )


def _triggered(box: Box, alerts: tuple[str, ...]) -> tuple[Triggered, ...]:
    marks = ", ".join("?" * len(alerts))
    rows = box.db.read(
        "SELECT id, act, state, (SELECT id FROM runs WHERE runs.id = decisions.run_id) AS run_id FROM decisions "
        f"WHERE alert_id IN ({marks}) ORDER BY decided_at DESC LIMIT 10",
        alerts,
    )
    return tuple(Triggered(row["id"], row["act"], row["state"], row["run_id"]) for row in rows)


def _window(row: Row, feature: str) -> WindowRow:
    drift = read_finding(mapping(row["finding"])).drift
    found = next((item for item in drift.features if item.name == feature), None) if drift else None
    outcome: Any = found.outcome if found else (drift.outcome if drift else "cannot_tell")
    return WindowRow(
        row["number"], moment(row["starts_at"]), moment(row["ends_at"]), row["rows"], outcome, found
    )


def _newest_shapes(box: Box, model: str, number: int) -> dict[str, Shape]:
    row = box.db.one(
        "SELECT summary FROM windows WHERE model = ? AND number = ? ORDER BY starts_at DESC LIMIT 1",
        (model, number),
    )
    return read_shapes(box, model, number, mapping(row["summary"])) if row else {}
