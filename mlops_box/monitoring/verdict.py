"""From comparisons to verdicts: one column, all columns, the window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mlops_box.monitoring.buckets import buckets
from mlops_box.monitoring.counts import CategoricalCounts, ColumnCounts, NumericCounts
from mlops_box.monitoring.detectors import registered
from mlops_box.monitoring.detectors.base import MIN_VALUES, Compared
from mlops_box.monitoring.reference import (
    PREDICTION,
    CategoricalReference,
    ColumnReference,
    NumericReference,
)
from mlops_box.monitoring.sensors import ColumnShape, diagnose
from mlops_box.monitoring.statistics.bh import adjusted_p_values
from mlops_box.monitoring.statistics.calibrated import Usual
from mlops_box.monitoring.statistics.js import js_distance
from mlops_box.monitoring.statistics.psi import psi
from mlops_box.monitoring.statistics.shares import decile_groups, top_groups
from mlops_box.monitoring.statistics.wasserstein import wasserstein
from mlops_box.monitoring.values import MISSING, DriftOutcome, FeatureFinding, Finding, TestName, TestResult

JOINT = "classifier"


@dataclass(frozen=True)
class Options:
    """The detector's settings; one fixed default for every stream."""

    fdr: float = 0.01
    effect: float = 0.1
    min_rows: int = 200


def compare_column(
    reference: ColumnReference,
    counts: ColumnCounts,
    rows: int,
    options: Options,
    *,
    usual: Mapping[str, Usual],
    crowding: float | None,
    shape: ColumnShape | None,
) -> FeatureFinding:
    """Every test of one column, not yet corrected; the verdict comes when all columns are known.

    Args:
        usual: By test, how much earlier windows differ; empty where that is not known.
        crowding: See :func:`~mlops_box.monitoring.sensors.diagnose`.

    Raises:
        ValueError: The counts were made with another reference.
    """
    tests = tuple(
        tested(detector.name, detector.compare(reference, counts, rows), usual.get(detector.name), options)
        for detector in registered()
        if detector.applies(reference)
    )
    base = FeatureFinding(
        reference.name,
        "numeric" if isinstance(reference, NumericReference) else "categorical",
        "cannot_tell",
        tests,
        rows,
        _share(reference.nulls, reference.nulls + reference.rows),
        _share(counts.nulls, rows),
        fault=None if reference.name == PREDICTION else diagnose(reference, counts, shape, crowding=crowding),
    )
    return _with_effects(base, reference, counts)


def tested(name: TestName, compared: Compared, usual: Usual | None, options: Options) -> TestResult:
    """A comparison as a test. Of the chance among rows and the chance among windows, the larger one counts."""
    p, message, reach = compared.p, compared.message, None
    if usual is not None and p is not None and compared.effect is not None:
        p = max(p, usual.p_value(compared.effect))
        reach = usual.reach(min(options.fdr, 0.01))
        message = f"{message}, usual up to {reach:.3f}"
    return TestResult(name, "cannot_tell", p, None, compared.effect, options.effect, message, reach)


def join(compared: Compared, usual: Usual | None, options: Options, *, calibrated: bool) -> TestResult:
    """The comparison of all columns together as a test.

    Among calibrated columns it decides only where it is calibrated too: else it would spend their budget.
    """
    if calibrated and usual is None and compared.p is not None:
        text = f"{compared.message}; too few windows with a hundred rows to know what is usual"
        return TestResult(JOINT, "cannot_tell", None, None, compared.effect, options.effect, text)
    return tested(JOINT, compared, usual if calibrated else None, options)


def judge(
    features: Sequence[FeatureFinding], joint: TestResult | None, options: Options
) -> tuple[tuple[FeatureFinding, ...], TestResult | None]:
    """Correct the p-values of all tests together, then give each test and column its verdict.

    The values of a broken sensor are not judged, and do not count among the tests.
    """
    taken = [test for feature in features for test in feature.tests if _counts(feature, test)]
    if joint is not None and joint.p is not None:
        taken.append(joint)
    adjusted = iter(adjusted_p_values([test.p for test in taken if test.p is not None]))
    judged = []
    for feature in features:
        tests = tuple(
            _verdict(test, next(adjusted), options) if _counts(feature, test) else test
            for test in feature.tests
        )
        outcome = _strongest([test.outcome for test in tests])
        if feature.fault is not None and outcome == "fine":
            outcome = "cannot_tell"
        judged.append(replace(feature, tests=tests, outcome=outcome))
    if joint is not None and joint.p is not None:
        joint = _verdict(joint, next(adjusted), options)
    return tuple(judged), joint


def overall(features: Sequence[FeatureFinding], joint: TestResult | None) -> DriftOutcome:
    """Drift anywhere is drift; fine needs at least one comparison that could be made."""
    return _strongest([*(feature.outcome for feature in features), *([joint.outcome] if joint else [])])


def reason_of(finding: Finding) -> str:
    """The verdict in one sentence."""
    said = _differences(finding)
    if finding.faults:
        said += "; broken: " + "; ".join(f"{name}: {fault.message}" for name, fault in finding.faults.items())
    if finding.uncalibrated:
        said += f"; uncalibrated: {finding.uncalibrated}"
    return said


def _differences(finding: Finding) -> str:
    features = finding.features
    found = [
        (test.effect or 0.0, f"{feature.name}: {test.message}")
        for feature in features
        for test in feature.tests
        if test.outcome == "drift"
    ]
    together = (
        f"all columns together: {finding.joint.message}" if finding.joint and finding.joint_drift else ""
    )
    if found:
        found.sort(key=lambda item: (-item[0], item[1]))
        count = sum(feature.outcome == "drift" for feature in features)
        texts = [text for _, text in found[:3]] + ([together] if together else [])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        return (
            f"{count} of {len(features)} columns drifted ({'; '.join(texts)}{more}; limit {finding.effect:g})"
        )
    if together:
        return f"no column of {len(features)} drifted by itself, but {together} (2 AUC - 1, limit {finding.effect:g})"
    judged = [test for feature in features for test in feature.tests if test.p_adjusted is not None]
    if not judged:
        return "no column could be compared"
    largest = max(test.effect or 0.0 for test in judged)
    return (
        f"no column of {len(features)} differs by {finding.effect:g} or more for sure (largest {largest:.3f})"
    )


def _counts(feature: FeatureFinding, test: TestResult) -> bool:
    return test.p is not None and (feature.fault is None or test.test == MISSING)


def _verdict(test: TestResult, p_adjusted: float, options: Options) -> TestResult:
    drifted = p_adjusted <= options.fdr and (test.effect or 0.0) >= test.effect_limit
    return replace(test, p_adjusted=p_adjusted, outcome="drift" if drifted else "fine")


def _strongest(outcomes: list[DriftOutcome]) -> DriftOutcome:
    if "drift" in outcomes:
        return "drift"
    return "fine" if "fine" in outcomes else "cannot_tell"


def _with_effects(base: FeatureFinding, reference: ColumnReference, counts: ColumnCounts) -> FeatureFinding:
    """Effect sizes to look at, where both sides have values."""
    if min(reference.rows, counts.rows) < MIN_VALUES:
        return base
    if isinstance(reference, NumericReference) and isinstance(counts, NumericCounts):
        left, right = decile_groups(reference.counts, counts.counts)
        return replace(
            base,
            psi=psi(left, right),
            js=js_distance(left, right),
            wasserstein=wasserstein(
                reference.edges, reference.counts, counts.counts,
                std=reference.std or 0.0, discrete=reference.discrete,
            ),
            outside=(counts.counts[0] + counts.counts[-1]) / counts.rows,
        )  # fmt: skip
    if isinstance(reference, CategoricalReference) and isinstance(counts, CategoricalCounts):
        new = counts.unlisted / counts.rows if reference.complete else None
        base = replace(base, new=new, new_examples=counts.examples if reference.complete else ())
        if not any(test.p is not None for test in base.tests if test.test != MISSING):
            return base
        groups_left, groups_right = top_groups(*buckets(reference, counts))
        return replace(base, psi=psi(groups_left, groups_right), js=js_distance(groups_left, groups_right))
    return base


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
