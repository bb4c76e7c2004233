"""Has the data drifted from the reference? One fixed default for every stream.

Every column is compared by the registered detectors (Kolmogorov-Smirnov for numbers, chi-squared for categories, the
share of missing values for both) and all columns together by a classifier; Benjamini-Hochberg over all of them; and an
effect floor, because with many rows any difference is significant. Where enough earlier windows are known, a difference
must also be larger than windows of the same season class differ anyway; where not, the finding says *uncalibrated*. A
column drifts when its difference is both sure and large enough. Without enough rows the answer is *cannot tell*. What
looks like a broken sensor is named as that and not called drift.

>>> import numpy as np, pyarrow as pa
>>> rng = np.random.default_rng(0)
>>> detector = DriftDetector(pa.table({"x": rng.normal(size=2000)}))
>>> detector.check(pa.table({"x": rng.normal(size=500)})).outcome
'fine'
>>> detector.check(pa.table({"x": rng.normal(loc=1, size=500)})).drifted
('x',)
>>> detector.check(pa.table({"x": rng.normal(size=5)})).outcome
'cannot_tell'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from mlops_box.monitoring.calibration import Calibrator, Yardstick
from mlops_box.monitoring.count_tables import count_window
from mlops_box.monitoring.counts import WindowCounts
from mlops_box.monitoring.reference import Reference
from mlops_box.monitoring.reference_tables import reference_of
from mlops_box.monitoring.reservoir import ROWS, draw_reference, draw_rows
from mlops_box.monitoring.sketches import counts_from_profile
from mlops_box.monitoring.values import DriftOutcome, FeatureFinding, Finding, TestResult
from mlops_box.monitoring.verdict import Options, compare_column, join, judge, overall, reason_of

if TYPE_CHECKING:
    from mlops_box.monitoring.baseline import Baseline
    from mlops_box.monitoring.joint import JointDetector
    from mlops_box.monitoring.sensors import ColumnShape

__all__ = ["DriftDetector", "Options"]

NO_WINDOWS = "the reference came without earlier windows"


class DriftDetector:
    """Compares windows with one reference; usable without a box.

    Args:
        reference: What the data should look like: a table, or the :class:`Reference` of a model version.
        fdr: Allowed share of false findings among the tests; without drift, the chance of any finding.
        effect: Smallest KS distance, Cramér's V, change of the share of missing values, or ``2 AUC - 1`` that counts.
        min_rows: A smaller window says *cannot tell*.
        time: The column of event times. With ``window``, the reference table is cut into windows, and limits are
            calibrated on how much they differ; the column itself is not compared.
        window: The length of a window.
        baseline: Earlier windows, for a reference that is no table.
        rows: Rows of the reference, for a reference that is no table; without them columns are not compared together.
        uncalibrated: Why there is no baseline.
        seed: Draws rows and folds.

    Raises:
        ValueError: ``time`` without ``window`` or the other way round.
        KeyError: The table has no column ``time``.
    """

    def __init__(
        self,
        reference: pa.Table | Reference,
        *,
        fdr: float = Options.fdr,
        effect: float = Options.effect,
        min_rows: int = Options.min_rows,
        time: str | None = None,
        window: timedelta | None = None,
        baseline: Baseline | None = None,
        rows: pa.Table | None = None,
        uncalibrated: str = NO_WINDOWS,
        seed: int = 0,
    ):
        if (time is None) != (window is None):
            raise ValueError(
                "time and window belong together: the column of event times, and a window's length"
            )
        self.options = Options(fdr, effect, min_rows)
        self._time, self._width, self._seed = time, window, seed
        if isinstance(reference, Reference):
            self.reference = reference
        else:
            self.reference, baseline, rows = _from_table(reference, time, window, min_rows, seed)
        self._calibrator = Calibrator(self.reference, baseline, uncalibrated)
        self._rows = rows
        self._joint: JointDetector | None = None

    def check(self, window: pa.Table) -> Finding:
        """Compare a table; columns that the reference lacks are left aside, columns that it lacks count as missing."""
        from mlops_box.monitoring.sensors import shapes_of

        return self.check_counts(
            count_window(self.reference, window),
            starts_at=self._start(window),
            shapes=shapes_of(self.reference, window),
            rows=draw_rows(window, ROWS, seed=self._seed),
        )

    def check_profile(self, profile: bytes, *, starts_at: datetime | None = None) -> Finding:
        """Compare a whylogs profile; what its sketches may be wrong by is taken off the distances."""
        return self.check_counts(counts_from_profile(self.reference, profile), starts_at=starts_at)

    def check_counts(
        self,
        window: WindowCounts,
        *,
        starts_at: datetime | None = None,
        shapes: Mapping[str, ColumnShape] | None = None,
        rows: pa.Table | None = None,
    ) -> Finding:
        """Compare counts made with this reference (see :func:`count_window`).

        Args:
            starts_at: When the window began: its season class. Without it the limits are not calibrated.
            shapes: See :func:`~mlops_box.monitoring.sensors.shapes_of`; without them broken sensors are not told.
            rows: Rows of the window; without them columns are not compared together.
        """
        options = self.options
        if window.rows < options.min_rows or self.reference.rows == 0:
            reason = (
                f"{window.rows} rows, {options.min_rows} are needed"
                if self.reference.rows
                else "the reference has no rows"
            )
            return self._finding("cannot_tell", window, reason, (), options)
        yard = self._calibrator.yardstick(starts_at, window.rows)
        if not yard.usual:
            # No budget can be kept where it is not known how much windows differ.
            options = replace(options, fdr=min(options.fdr, Options.fdr))
        features = [
            compare_column(
                reference, counts, window.rows, options, usual=yard.usual.get(reference.name, {}),
                crowding=yard.crowding.get(reference.name), shape=(shapes or {}).get(reference.name),
            )
            for reference, counts in zip(yard.columns, window.columns, strict=True)
        ]  # fmt: skip
        joint = self._together(rows, features, yard, options)
        judged, joint = judge(features, joint, options)
        finding = self._finding(overall(judged, joint), window, "", judged, options, yard, joint)
        return replace(finding, reason=reason_of(finding))

    def _together(
        self, rows: pa.Table | None, features: list[FeatureFinding], yard: Yardstick, options: Options
    ) -> TestResult | None:
        from mlops_box.monitoring.joint import JointDetector

        if rows is None or self._rows is None:
            return None
        if self._joint is None:
            self._joint = JointDetector(self.reference, self._rows, seed=self._seed)
        broken = {feature.name for feature in features if feature.fault is not None}
        compared, usual = self._joint.compare(rows, without=broken)
        return join(compared, usual, options, calibrated=bool(yard.usual))

    def _start(self, window: pa.Table) -> datetime | None:
        from mlops_box.monitoring.baseline import first_start

        if self._time is None or self._width is None or self._time not in window.column_names:
            return None
        return first_start(window.column(self._time), self._width)

    def _finding(
        self,
        outcome: DriftOutcome,
        window: WindowCounts,
        reason: str,
        features: tuple[FeatureFinding, ...],
        options: Options,
        yard: Yardstick | None = None,
        joint: TestResult | None = None,
    ) -> Finding:
        judged = [feature for feature in features if feature.outcome != "cannot_tell"]
        blind = [feature.name for feature in judged if not feature.calibrated]
        why = yard.why if yard else ""
        if yard and not why and blind:
            shown = ", ".join(blind[:3]) + (f" and {len(blind) - 3} more" if len(blind) > 3 else "")
            why = f"too few earlier windows hold {shown}"
        return Finding(
            outcome, window.rows, self.reference.rows, options.min_rows, options.fdr, options.effect,
            calibrated=bool(judged) and not why, reason=reason, features=features,
            season=yard.season if yard else "", windows=yard.windows if yard else 0, uncalibrated=why, joint=joint,
        )  # fmt: skip


def _from_table(
    table: pa.Table, time: str | None, window: timedelta | None, min_rows: int, seed: int
) -> tuple[Reference, Baseline | None, pa.Table]:
    from mlops_box.monitoring.baseline import MIN_ROWS, cut_baseline

    if time is None or window is None:
        return reference_of(table), None, draw_reference(table, seed=seed)
    times = table.column(time)
    values = table.drop_columns([time])
    reference = reference_of(values)
    least = max(MIN_ROWS, min_rows // 2)
    baseline = cut_baseline(reference, [(table, time)], window, min_rows=least)
    return reference, baseline, draw_reference(values, times=times, width=window, seed=seed)
