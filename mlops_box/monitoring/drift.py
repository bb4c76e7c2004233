"""Has the data drifted from the reference? One fixed default for every stream.

Per column a two-sample test (Kolmogorov-Smirnov for numbers, chi-squared for categories) and a test of the share of
missing values; Benjamini-Hochberg over all of them; and an effect floor, because with many rows any difference is
significant. A column drifts when its difference is both sure and large enough. Without enough rows the answer is
*cannot tell*.

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

from dataclasses import dataclass, replace

import pyarrow as pa

from mlops_box.monitoring.counts import (
    CategoricalCounts,
    ColumnCounts,
    NumericCounts,
    WindowCounts,
    count_window,
)
from mlops_box.monitoring.reference import (
    CategoricalReference,
    ColumnReference,
    NumericReference,
    Reference,
)
from mlops_box.monitoring.sketches import counts_from_profile
from mlops_box.monitoring.statistics.bh import adjusted_p_values
from mlops_box.monitoring.statistics.chi2 import chi2_two_sample
from mlops_box.monitoring.statistics.js import js_distance
from mlops_box.monitoring.statistics.ks import ks_distance, ks_p_value
from mlops_box.monitoring.statistics.proportions import share_p_value
from mlops_box.monitoring.statistics.psi import psi
from mlops_box.monitoring.statistics.shares import decile_groups, top_groups
from mlops_box.monitoring.statistics.wasserstein import wasserstein
from mlops_box.monitoring.values import (
    DriftOutcome,
    FeatureFinding,
    Finding,
    TestName,
    TestResult,
)

UNCALIBRATED = "limits are not calibrated on earlier windows: another hour or season may count as drift"
_MIN_VALUES = 20  # fewer values of one column are not compared, whatever the window's size


@dataclass(frozen=True)
class Options:
    """The detector's settings; the defaults are those of ``[monitor]`` in ``mlops.toml``."""

    fdr: float = 0.01
    effect: float = 0.1
    min_rows: int = 200


class DriftDetector:
    """Compares windows with one reference; usable without a box.

    Args:
        reference: What the data should look like: a table, or the :class:`Reference` of a model version.
        fdr: Allowed share of false findings among the tests.
        effect: Smallest KS distance, Cramér's V or change of the share of missing values that counts.
        min_rows: A smaller window says *cannot tell*.
    """

    def __init__(
        self,
        reference: pa.Table | Reference,
        *,
        fdr: float = Options.fdr,
        effect: float = Options.effect,
        min_rows: int = Options.min_rows,
    ):
        self.reference = reference if isinstance(reference, Reference) else Reference.from_table(reference)
        self.options = Options(fdr, effect, min_rows)

    def check(self, window: pa.Table) -> Finding:
        """Compare a table; columns that the reference lacks are left aside, columns that it lacks count as missing."""
        return self.check_counts(count_window(self.reference, window))

    def check_profile(self, profile: bytes) -> Finding:
        """Compare a whylogs profile; what its sketches may be wrong by is taken off the distances."""
        return self.check_counts(counts_from_profile(self.reference, profile))

    def check_counts(self, window: WindowCounts) -> Finding:
        """Compare counts made with this reference (see :func:`count_window`)."""
        options = self.options
        if window.rows < options.min_rows or self.reference.rows == 0:
            reason = (
                f"{window.rows} rows, {options.min_rows} are needed"
                if self.reference.rows
                else "the reference has no rows"
            )
            return self._finding("cannot_tell", window, reason, ())
        features = [
            _compare(reference, counts, window.rows, options)
            for reference, counts in zip(self.reference.columns, window.columns, strict=True)
        ]
        judged = _judge(features, options)
        return self._finding(_overall(judged), window, _reason(judged, options), judged)

    def _finding(
        self, outcome: DriftOutcome, window: WindowCounts, reason: str, features: tuple[FeatureFinding, ...]
    ) -> Finding:
        options = self.options
        return Finding(
            outcome, window.rows, self.reference.rows, options.min_rows, options.fdr, options.effect,
            calibrated=False, reason=reason, features=features,
        )  # fmt: skip


def _compare(reference: ColumnReference, counts: ColumnCounts, rows: int, options: Options) -> FeatureFinding:
    """Statistics and raw p-values of one column; the verdict comes when all columns are known."""
    base = FeatureFinding(
        reference.name,
        "numeric" if isinstance(reference, NumericReference) else "categorical",
        "cannot_tell",
        (),
        rows,
        _share(reference.nulls, reference.nulls + reference.rows),
        _share(counts.nulls, rows),
    )
    missing = _missing_test(reference, counts, rows, options)
    if isinstance(reference, NumericReference) and isinstance(counts, NumericCounts):
        return _compare_numbers(base, missing, reference, counts, options)
    if isinstance(reference, CategoricalReference) and isinstance(counts, CategoricalCounts):
        return _compare_categories(base, missing, reference, counts, options)
    raise ValueError(f"column {reference.name} was counted with another reference")


def _compare_numbers(
    base: FeatureFinding,
    missing: TestResult,
    reference: NumericReference,
    counts: NumericCounts,
    options: Options,
) -> FeatureFinding:
    too_few = _too_few(reference.rows, counts.rows)
    if too_few:
        return replace(base, tests=(_untested("ks", too_few, options), missing))
    distance = ks_distance(reference.counts, counts.counts)
    p = ks_p_value(distance, reference.rows, counts.rows, error=counts.rank_error)
    effect = max(0.0, distance - counts.rank_error)
    left, right = decile_groups(reference.counts, counts.counts)
    return replace(
        base,
        tests=(
            TestResult("ks", "cannot_tell", p, None, effect, options.effect, f"KS distance {effect:.3f}"),
            missing,
        ),
        psi=psi(left, right),
        js=js_distance(left, right),
        wasserstein=wasserstein(
            reference.edges,
            reference.counts,
            counts.counts,
            std=reference.std or 0.0,
            discrete=reference.discrete,
        ),
        outside=(counts.counts[0] + counts.counts[-1]) / counts.rows,
    )


def _compare_categories(
    base: FeatureFinding,
    missing: TestResult,
    reference: CategoricalReference,
    counts: CategoricalCounts,
    options: Options,
) -> FeatureFinding:
    too_few = _too_few(reference.rows, counts.rows)
    if too_few:
        return replace(base, tests=(_untested("chi2", too_few, options), missing))
    left, right = _buckets(reference, counts)
    new = counts.unlisted / counts.rows if reference.complete else None
    base = replace(base, new=new, new_examples=counts.examples if reference.complete else ())
    result = chi2_two_sample(left, right)
    if result is None:
        return replace(base, tests=(_untested("chi2", "no value is frequent enough", options), missing))
    test = TestResult(
        "chi2", "cannot_tell", result.p, None, result.effect, options.effect,
        f"Cramér's V {result.effect:.3f} over {result.groups} groups of values",
    )  # fmt: skip
    groups_left, groups_right = top_groups(left, right)
    return replace(
        base,
        tests=(test, missing),
        psi=psi(groups_left, groups_right),
        js=js_distance(groups_left, groups_right),
    )


def _buckets(reference: CategoricalReference, counts: CategoricalCounts) -> tuple[list[float], list[float]]:
    """Counts per value and one bucket for all others.

    Where the reference lists all its values, the others are new ones. Its own share of them is that of the values it
    had once only: left out, each of those rows would have been new (the leave-one-out form of Good-Turing). A window
    with fewer new values than that, such as the training rows themselves, is no drift: the share is taken down to it.
    """
    if not reference.complete:
        return [*reference.counts, reference.rest], [*counts.counts, counts.unlisted]
    new = min(reference.singletons, counts.unlisted / counts.rows * reference.rows)
    kept = 1 - new / reference.singletons if reference.singletons else 1.0
    listed = [count if count > 1 else kept for count in reference.counts]
    return [*listed, new], [*counts.counts, counts.unlisted]


def _missing_test(
    reference: ColumnReference, counts: ColumnCounts, rows: int, options: Options
) -> TestResult:
    rows_reference = reference.nulls + reference.rows
    if rows_reference == 0:
        return _untested("missing", "the reference has no rows", options)
    before, now = reference.nulls / rows_reference, counts.nulls / rows
    return TestResult(
        "missing",
        "cannot_tell",
        share_p_value(reference.nulls, rows_reference, counts.nulls, rows),
        None,
        abs(now - before),
        options.effect,
        f"missing {now:.1%}, was {before:.1%}",
    )


def _judge(features: list[FeatureFinding], options: Options) -> tuple[FeatureFinding, ...]:
    """Correct the p-values of all tests together, then give each test and column its verdict."""
    adjusted = iter(
        adjusted_p_values([test.p for feature in features for test in feature.tests if test.p is not None])
    )
    judged = []
    for feature in features:
        tests = tuple(
            test if test.p is None else _verdict(test, next(adjusted), options) for test in feature.tests
        )
        judged.append(replace(feature, tests=tests, outcome=_strongest([test.outcome for test in tests])))
    return tuple(judged)


def _verdict(test: TestResult, p_adjusted: float, options: Options) -> TestResult:
    drifted = p_adjusted <= options.fdr and (test.effect or 0.0) >= test.effect_limit
    return replace(test, p_adjusted=p_adjusted, outcome="drift" if drifted else "fine")


def _strongest(outcomes: list[DriftOutcome]) -> DriftOutcome:
    """Drift anywhere is drift; fine needs at least one comparison that could be made."""
    if "drift" in outcomes:
        return "drift"
    return "fine" if "fine" in outcomes else "cannot_tell"


def _overall(features: tuple[FeatureFinding, ...]) -> DriftOutcome:
    return _strongest([feature.outcome for feature in features])


def _reason(features: tuple[FeatureFinding, ...], options: Options) -> str:
    found = [
        (test.effect or 0.0, f"{feature.name}: {test.message}")
        for feature in features
        for test in feature.tests
        if test.outcome == "drift"
    ]
    if found:
        found.sort(key=lambda item: (-item[0], item[1]))
        count = sum(feature.outcome == "drift" for feature in features)
        shown = "; ".join(text for _, text in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        return f"{count} of {len(features)} columns drifted ({shown}{more}; limit {options.effect:g})"
    judged = [test for feature in features for test in feature.tests if test.p is not None]
    if not judged:
        return "no column could be compared"
    largest = max(test.effect or 0.0 for test in judged)
    return (
        f"no column of {len(features)} differs by {options.effect:g} or more for sure (largest {largest:.3f})"
    )


def _too_few(rows_reference: int, rows_window: int) -> str | None:
    if rows_reference < _MIN_VALUES:
        return f"the reference has {rows_reference} values, {_MIN_VALUES} are needed"
    if rows_window < _MIN_VALUES:
        return f"{rows_window} values, {_MIN_VALUES} are needed"
    return None


def _untested(test: TestName, why: str, options: Options) -> TestResult:
    return TestResult(test, "cannot_tell", None, None, None, options.effect, why)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
