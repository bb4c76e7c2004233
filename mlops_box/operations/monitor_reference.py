"""What the windows of a version are held against."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mlops_box.box import Box
from mlops_box.models.values import BASELINE_FILE, ESTIMATE_FILE, REFERENCE_FILE, ROWS_FILE, ModelVersion
from mlops_box.monitoring.budget import Limits, limits_for
from mlops_box.project import Monitor
from mlops_box.units import format_duration

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_box.monitoring.baseline import Baseline
    from mlops_box.monitoring.counts import WindowCounts
    from mlops_box.monitoring.drift import DriftDetector
    from mlops_box.monitoring.estimate import Estimator
    from mlops_box.monitoring.reference import Reference


def limits_of(monitor: Monitor) -> Limits:
    """The limits that keep the declared budget of false pages; a declared ``fdr`` stands."""
    limits = limits_for(monitor.budget, monitor.window)
    return limits if monitor.fdr is None else Limits(monitor.fdr, limits.page_at)


@dataclass
class References:
    """References and detectors of versions, each made once in a run; of the columns that the log holds."""

    box: Box
    _whole: dict[str, Reference] = field(default_factory=dict)
    _known: dict[str, Reference] = field(default_factory=dict)
    _estimators: dict[str, Estimator] = field(default_factory=dict)
    _detectors: dict[tuple[str, str], DriftDetector] = field(default_factory=dict)

    def of(self, version: ModelVersion) -> Reference:
        from mlops_box.monitoring.reference import Reference

        if version.ref not in self._known:
            whole, hidden = self.whole(version), self.redacted(version)
            columns = tuple(column for column in whole.columns if column.name not in hidden)
            self._known[version.ref] = Reference(whole.rows, columns)
        return self._known[version.ref]

    def redacted(self, version: ModelVersion) -> tuple[str, ...]:
        """Features whose values are not logged: nothing can be said of them."""
        hidden = self.box.projects.redacted(version.model)
        return tuple(feature.name for feature in version.signature.features if feature.name in hidden)

    def watched(self, version: ModelVersion, counts: WindowCounts) -> WindowCounts:
        """Counts made with the whole reference, of the columns that are watched."""
        from mlops_box.monitoring.counts import WindowCounts

        hidden = self.redacted(version)
        pairs = zip(counts.columns, self.whole(version).names, strict=True)
        return WindowCounts(counts.rows, tuple(column for column, name in pairs if name not in hidden))

    def whole(self, version: ModelVersion) -> Reference:
        """Also of the columns that the log does not hold."""
        from mlops_box.monitoring.reference import Reference

        if version.ref not in self._whole:
            data = self.box.models.file(version, REFERENCE_FILE)
            self._whole[version.ref] = Reference.from_bytes(data)
        return self._whole[version.ref]

    def detector(self, version: ModelVersion, monitor: Monitor) -> DriftDetector:
        """Calibrated on the rows the version was made from, where it carries them by windows of the declared length."""
        from mlops_box.monitoring.drift import DriftDetector

        key = (version.ref, monitor.model_dump_json())
        if key not in self._detectors:
            baseline, why = self._baseline(version, monitor)
            self._detectors[key] = DriftDetector(
                self.of(version),
                fdr=limits_of(monitor).fdr,
                effect=monitor.effect,
                min_rows=monitor.min_rows,
                baseline=baseline,
                rows=self._rows(version),
                uncalibrated=why,
            )
        return self._detectors[key]

    def estimator(self, version: ModelVersion) -> Estimator | None:
        """How to estimate the version's quality; ``None`` where it carries nothing for that."""
        from mlops_box.monitoring.estimate import Estimator

        if ESTIMATE_FILE not in version.files:
            return None
        if version.ref not in self._estimators:
            text = self.box.models.file(version, ESTIMATE_FILE).decode()
            self._estimators[version.ref] = Estimator.from_json(text)
        return self._estimators[version.ref]

    def _baseline(self, version: ModelVersion, monitor: Monitor) -> tuple[Baseline | None, str]:
        from mlops_box.monitoring.baseline import Baseline

        if BASELINE_FILE not in version.files:
            if ROWS_FILE in version.files:
                return None, "[data] time is not declared, so the training rows make no windows"
            return None, f"{version.ref} was made by an earlier program, without windows of its training rows"
        baseline = Baseline.from_bytes(self.box.models.file(version, BASELINE_FILE))
        if baseline.width != monitor.window:
            made, declared = (
                format_duration(width.total_seconds()) for width in (baseline.width, monitor.window)
            )
            return None, f"{version.ref} was made for windows of {made}, not {declared}: train again"
        hidden = self.redacted(version)
        if hidden:
            names = self.whole(version).names
            kept = (item for item, name in zip(baseline.columns, names, strict=True) if name not in hidden)
            baseline = replace(baseline, columns=tuple(kept))
        return baseline, ""

    def _rows(self, version: ModelVersion) -> pa.Table | None:
        from mlops_box.monitoring.reservoir import rows_from_bytes

        if ROWS_FILE not in version.files:
            return None
        rows = rows_from_bytes(self.box.models.file(version, ROWS_FILE))
        return rows.drop_columns([name for name in self.redacted(version) if name in rows.column_names])
