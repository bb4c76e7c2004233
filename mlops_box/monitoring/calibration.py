"""The yardstick for one window: the reference of its season class, and how much windows of that class differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from mlops_box.monitoring.baseline import Baseline
from mlops_box.monitoring.detectors import registered
from mlops_box.monitoring.detectors.base import MIN_VALUES
from mlops_box.monitoring.history import ColumnHistory
from mlops_box.monitoring.reference import ColumnReference, Reference
from mlops_box.monitoring.season import MIN_WINDOWS, season_of
from mlops_box.monitoring.statistics.calibrated import Usual, fit_usual

_MOST = 120  # windows of a class; more say hardly anything new
_THIN_ABOVE = 1.25


@dataclass(frozen=True)
class Yardstick:
    """What a window is held against.

    Attributes:
        season: The class in words; empty where nothing is calibrated.
        windows: How many earlier windows it holds.
        why: Why nothing is calibrated; empty where it is.
        columns: The reference's columns, with the counts of the class where it holds enough windows.
        usual: By column and test: how much windows of the class differ. A column that is absent is not calibrated.
    """

    season: str
    windows: int
    why: str
    columns: tuple[ColumnReference, ...]
    usual: Mapping[str, Mapping[str, Usual]]
    crowding: Mapping[str, float] = field(default_factory=dict)


class Calibrator:
    """Yardsticks by season class, each computed once.

    Args:
        reference: What windows are compared with where nothing is known of earlier windows.
        baseline: Earlier windows; ``None`` for a reference that came without.
        why: Why there is no baseline.
    """

    def __init__(self, reference: Reference, baseline: Baseline | None, why: str):
        self._reference = reference
        self._baseline = baseline
        self._why = why
        self._known: dict[tuple[str, int | None], Yardstick] = {}

    def yardstick(self, starts_at: datetime | None, rows: int) -> Yardstick:
        """For a window of ``rows`` rows that begins at ``starts_at``."""
        baseline = self._baseline
        if baseline is None:
            return self._uncalibrated(self._why)
        if starts_at is None:
            return self._uncalibrated("when the window began is not known")
        found = season_of(starts_at, baseline.width, baseline.starts)
        if found is None:
            return self._uncalibrated(
                f"the training rows hold {len(baseline)} windows of this length, {MIN_WINDOWS} are needed"
            )
        season, places = found
        # Windows with more rows than this one are thinned to its number.
        usual_rows = float(np.median([baseline.rows[place] for place in places]))
        thin = _step(rows) if usual_rows > _THIN_ABOVE * rows else None
        key = (season, thin)
        if key not in self._known:
            self._known[key] = self._fit(season, places, thin)
        return self._known[key]

    def _uncalibrated(self, why: str) -> Yardstick:
        return Yardstick("", 0, why, self._reference.columns, {})

    def _fit(self, season: str, places: list[int], thin: int | None) -> Yardstick:
        assert self._baseline is not None
        columns: list[ColumnReference] = []
        usual: dict[str, dict[str, Usual]] = {}
        crowding: dict[str, float] = {}
        for reference, history in zip(self._reference.columns, self._baseline.columns, strict=True):
            known = history.take(places)
            counted = known.take(np.flatnonzero(known.rows + known.nulls > 0))
            if len(counted) < MIN_WINDOWS:
                columns.append(reference)
                continue
            merged = counted.merged(reference)
            columns.append(merged)
            spread = _spread(counted)
            usual[reference.name] = _usual(merged, spread.thinned(thin) if thin else spread)
            crowding[reference.name] = _crowding(counted)
        return Yardstick(season, len(places), "", tuple(columns), usual, crowding)


def _spread(history: ColumnHistory) -> ColumnHistory:
    """At most so many windows, from all of the time there was: the newest alone might be of one season."""
    if len(history) <= _MOST:
        return history
    return history.take(np.linspace(0, len(history) - 1, _MOST).astype(int))


def _usual(reference: ColumnReference, history: ColumnHistory) -> dict[str, Usual]:
    found = {}
    # A window with hardly any value of a column tells of missing values only.
    filled = history.take(np.flatnonzero(history.rows >= MIN_VALUES))
    for detector in registered():
        if not detector.applies(reference):
            continue
        seen = history if detector.name == "missing" else filled
        if len(seen) < MIN_WINDOWS:
            continue
        effects = detector.leave_one_out(reference, seen)
        effects = effects[np.isfinite(effects)]
        if len(effects) >= MIN_WINDOWS:
            found[detector.name] = fit_usual(effects.tolist())
    return found


def _crowding(history: ColumnHistory) -> float:
    """The share of rows in a window's fullest bin, as nine of ten windows have it at most."""
    rows = history.rows
    there = rows >= MIN_VALUES
    if not there.any():
        return 1.0
    return float(np.quantile(history.counts[there].max(axis=1) / rows[there], 0.9))


def _step(rows: int) -> int:
    """Rounded down to a power of the square root of two: windows of about the same size share a fit."""
    return int(2 ** (int(2 * np.log2(max(rows, 1))) / 2))
