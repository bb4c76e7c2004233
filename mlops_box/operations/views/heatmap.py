"""Drift of one model version at a glance: its columns by its newest windows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mlops_box.box import Box
from mlops_box.db import Row
from mlops_box.errors import NotFoundError
from mlops_box.operations.views.reading import moment

HEATMAP_WINDOWS = 96
# A column that is fine is worth a note once a test's effect has come this far towards its limit.
NOTE_SHARE = 0.5

Severity = Literal["fine", "note", "drift", "cannot_tell"]


@dataclass(frozen=True)
class HeatWindow:
    """One column of the map."""

    starts_at: datetime | None
    ends_at: datetime | None
    rows: int


@dataclass(frozen=True)
class HeatCell:
    """A feature in a window, by the test that came furthest towards its limit.

    Attributes:
        test: Its name; ``None`` where no test has a value.
        effect: KS distance, Cramér's V or change of the share of missing values, as ``test`` says.
        limit: What ``effect`` is held against.
        reason: Why nothing can be told; empty where something is.
    """

    severity: Severity
    test: str | None = None
    effect: float | None = None
    limit: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Heatmap:
    """``cells[i][j]`` is feature ``i`` in window ``j``; windows oldest first, features by how often they drifted."""

    model: str
    number: int
    features: tuple[str, ...]
    windows: tuple[HeatWindow, ...]
    cells: tuple[tuple[HeatCell, ...], ...]


_SELECT = """
SELECT w.starts_at, w.ends_at, w.rows, found.value ->> '$.name' AS feature, found.value ->> '$.outcome' AS outcome,
  test.value ->> '$.test' AS test, test.value ->> '$.effect' AS effect, test.value ->> '$.effect_limit' AS effect_limit,
  COALESCE(w.finding -> '$.drift' ->> '$.reason', w.finding ->> '$.reason', 'the window does not speak of drift') AS reason,
  ROW_NUMBER() OVER (
    PARTITION BY w.starts_at, found.key
    ORDER BY test.value ->> '$.outcome' = 'drift' DESC,
      (test.value ->> '$.effect') / (test.value ->> '$.effect_limit') DESC NULLS LAST
  ) AS place
FROM (
  SELECT starts_at, ends_at, rows, CASE WHEN json_valid(finding) THEN finding ELSE '{}' END AS finding
  FROM windows WHERE model = :model AND number = :number ORDER BY starts_at DESC LIMIT :windows
) AS w
LEFT JOIN json_each(COALESCE(w.finding -> '$.drift' -> '$.features', w.finding -> '$.features', '[]')) AS found
LEFT JOIN json_each(COALESCE(found.value -> '$.tests', '[]')) AS test
"""


def drift_heatmap(box: Box, model: str, number: int, *, windows: int = HEATMAP_WINDOWS) -> Heatmap:
    """The newest windows of a model version.

    Raises:
        NotFoundError: The version was never monitored.
    """
    found = box.db.read(
        f"SELECT * FROM ({_SELECT}) WHERE place = 1 ORDER BY starts_at",
        {"model": model, "number": number, "windows": windows},
    )
    if not found:
        raise NotFoundError(f"{model}@{number} has no monitored window", hint="mlops-box monitor")
    spans = {row["starts_at"]: row for row in found}
    known = {(row["feature"], row["starts_at"]): _cell(row) for row in found if row["feature"] is not None}
    cells = {
        feature: tuple(
            known.get((feature, start)) or HeatCell("cannot_tell", reason=_silence(span))
            for start, span in spans.items()
        )
        for feature in {feature for feature, _ in known}
    }
    features = sorted(cells, key=lambda name: (-sum(cell.severity == "drift" for cell in cells[name]), name))
    return Heatmap(
        model,
        number,
        tuple(features),
        tuple(
            HeatWindow(moment(row["starts_at"]), moment(row["ends_at"]), row["rows"])
            for row in spans.values()
        ),
        tuple(cells[feature] for feature in features),
    )


def _cell(row: Row) -> HeatCell:
    test, effect, limit = row["test"], row["effect"], row["effect_limit"]
    outcome = row["outcome"]
    if outcome not in ("drift", "fine"):
        return HeatCell("cannot_tell", test, effect, limit, "no test of this column could be made")
    near = effect is not None and limit is not None and effect >= NOTE_SHARE * limit
    return HeatCell("note" if outcome == "fine" and near else outcome, test, effect, limit)


def _silence(span: Row) -> str:
    """Why a window has no word on a feature."""
    return span["reason"] if span["feature"] is None else "this window has no such column"
