"""What the monitor found: frozen, three-valued, with the numbers and limits that led to it.

*Cannot tell* is never *fine*: too few rows, nothing to compare, no ground truth.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from mlops_box.clock import isoformat, parse_time

DriftOutcome = Literal["drift", "fine", "cannot_tell"]
QualityOutcome = Literal["loss", "fine", "cannot_tell"]
DataOutcome = Literal["bad", "fine", "cannot_tell"]
FaultKind = Literal["silent", "stuck", "spikes", "unit"]
TestName = str  # that of a registered detector: ks, chi2, missing ...
MISSING = "missing"  # the one test that is about rows without a value, and so about the data, not the world


@dataclass(frozen=True)
class TestResult:
    """One test of one column.

    Attributes:
        test: ``ks`` and ``chi2`` compare the values, ``missing`` the share of rows without one.
        p: Probability of so much difference without drift; ``p_adjusted`` is corrected for the number of tests.
        effect: KS distance, Cramér's V, or difference of the shares; what ``effect_limit`` is compared with.
        usual: The effect that one in a hundred windows of this season class exceeds without drift; ``None`` where that
            is not known, and ``p`` counts the chance among rows only.
    """

    __test__ = False  # not a pytest class, whatever its name says

    test: TestName
    outcome: DriftOutcome
    p: float | None
    p_adjusted: float | None
    effect: float | None
    effect_limit: float
    message: str
    usual: float | None = None


@dataclass(frozen=True)
class SensorFault:
    """A column that is broken, with what was seen of it.

    Attributes:
        kind: ``silent`` (no values), ``stuck`` (one value), ``spikes`` (some absurd ones), ``unit`` (another unit).
    """

    kind: FaultKind
    message: str
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FeatureFinding:
    """One column of a window against the reference.

    Attributes:
        outcome: ``drift`` if any test says so; ``fine`` if none does and at least one could be made.
        outside: Share of values outside the reference's range; ``None`` for categories.
        new: Share of values the reference never had; ``None`` for numbers and where it does not know all its values.
        new_examples: A few of those.
        psi, js, wasserstein: Effect sizes to look at; no verdict rests on them.
        fault: What is broken, where the column is; its values are then not called drifted.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    outcome: DriftOutcome
    tests: tuple[TestResult, ...]
    rows: int
    missing_reference: float
    missing: float
    psi: float | None = None
    js: float | None = None
    wasserstein: float | None = None
    outside: float | None = None
    new: float | None = None
    new_examples: tuple[str, ...] = ()
    fault: SensorFault | None = None

    def drifted(self, *tests: TestName) -> bool:
        """Did one of these tests find drift?"""
        return any(result.outcome == "drift" and result.test in tests for result in self.tests)

    @property
    def values_drifted(self) -> bool:
        """Did any test of the values find drift?"""
        return any(result.outcome == "drift" and result.test != MISSING for result in self.tests)

    @property
    def calibrated(self) -> bool:
        """Is it known how much this column differs between windows?"""
        judged = [result for result in self.tests if result.p is not None]
        return bool(judged) and all(result.usual is not None for result in judged)


def unwatched(name: str, kind: Literal["numeric", "categorical"], why: str) -> FeatureFinding:
    """A column of which nothing can be said."""
    told = TestResult(MISSING, "cannot_tell", None, None, None, 0.0, f"cannot tell: {why}")
    return FeatureFinding(name, kind, "cannot_tell", (told,), 0, 0.0, 0.0)


@dataclass(frozen=True)
class Finding:
    """A window against its reference.

    Attributes:
        calibrated: Are the limits learnt from how much past windows differ? If not, a window that is merely of another
            hour or season may count as drift.
        reason: The verdict in one sentence.
        season: The class of windows it was compared with, in words; empty where it is not calibrated.
        windows: How many earlier windows of that class there are.
        uncalibrated: Why it is not calibrated; empty where it is.
        joint: All columns together, by a classifier; ``None`` where no rows were at hand.
    """

    outcome: DriftOutcome
    rows: int
    rows_reference: int
    min_rows: int
    fdr: float
    effect: float
    calibrated: bool
    reason: str
    features: tuple[FeatureFinding, ...] = ()
    season: str = ""
    windows: int = 0
    uncalibrated: str = ""
    joint: TestResult | None = None

    @property
    def drifted(self) -> tuple[str, ...]:
        """Columns whose values drifted, strongest first."""
        found = [feature for feature in self.features if feature.values_drifted]
        return tuple(feature.name for feature in sorted(found, key=lambda item: -_effect(item)))

    @property
    def joint_drift(self) -> bool:
        """Do the columns drift together, whatever each of them does?"""
        return self.joint is not None and self.joint.outcome == "drift"

    @property
    def faults(self) -> dict[str, SensorFault]:
        """Broken columns by name."""
        return {feature.name: feature.fault for feature in self.features if feature.fault is not None}

    @property
    def missing(self) -> tuple[str, ...]:
        """Columns whose share of missing values changed, strongest first."""
        found = [feature for feature in self.features if feature.drifted(MISSING)]
        return tuple(feature.name for feature in sorted(found, key=lambda item: -_effect(item, MISSING)))

    def feature(self, name: str) -> FeatureFinding:
        """Raises ``KeyError`` where the reference has no such column."""
        for item in self.features:
            if item.name == name:
                return item
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"drifted": list(self.drifted), "missing": list(self.missing)}

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> Finding:
        fields = {key: value for key, value in raw.items() if key not in ("drifted", "missing")}
        features = tuple(
            FeatureFinding(
                **(
                    item
                    | {
                        "tests": tuple(TestResult(**test) for test in item["tests"]),
                        "new_examples": tuple(item["new_examples"]),
                        "fault": SensorFault(**item["fault"]) if item.get("fault") else None,
                    }
                )
            )
            for item in raw["features"]
        )
        joint = TestResult(**fields["joint"]) if fields.get("joint") else None
        return Finding(**(fields | {"features": features, "joint": joint}))


@dataclass(frozen=True)
class QualityFinding:
    """The metric on rows whose ground truth arrived, against the held-out rows of the version.

    Attributes:
        loss: Relative: 0.25 says the metric is a quarter worse than on the held-out rows; negative is better.
        loss_low, loss_high: A 95 % interval of it (bootstrap over rows).
        coverage: Share of the window's predictions that have ground truth.
        limit: The declared loss that alarms.
        metrics: All metrics of the task on those rows.
    """

    outcome: QualityOutcome
    metric: str
    realised: float | None
    held_out: float | None
    loss: float | None
    loss_low: float | None
    loss_high: float | None
    limit: float
    rows: int
    rows_with_truth: int
    min_rows: int
    reason: str
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def coverage(self) -> float:
        return self.rows_with_truth / self.rows if self.rows else 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"coverage": self.coverage}

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> QualityFinding:
        return QualityFinding(**{key: value for key, value in raw.items() if key != "coverage"})


@dataclass(frozen=True)
class Estimated:
    """One estimated metric with its 95 % interval, and what it was on the held-out rows."""

    value: float
    low: float
    high: float
    held_out: float


@dataclass(frozen=True)
class EstimateFinding:
    """Quality estimated without ground truth; never to be shown as realised quality.

    Attributes:
        value: The estimate with its 95 % interval; ``None`` with too few rows.
        held_out: The metric on the version's held-out rows.
        text: All of it in words, with what the estimate is blind to.
        others: Further metrics by name.
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    held_out: float
    rows: int
    text: str
    others: dict[str, Estimated] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> EstimateFinding:
        others = {name: Estimated(**one) for name, one in raw.get("others", {}).items()}
        return EstimateFinding(**(raw | {"others": others}))


@dataclass(frozen=True)
class DataFinding:
    """Is the live data itself whole?

    Attributes:
        not_finite: Rows for which the model answered no finite number.
        missing: Columns whose share of missing values changed: a broken sensor or join rather than another world.
        faults: Columns that look like a broken sensor.
        violations: Rows that break a rule of the contract, by rule id.
    """

    outcome: DataOutcome
    rows: int
    not_finite: int
    missing: tuple[str, ...]
    reason: str
    faults: tuple[str, ...] = ()
    violations: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> DataFinding:
        lists = {name: tuple(raw.get(name, ())) for name in ("missing", "faults")}
        return DataFinding(**(raw | lists))


@dataclass(frozen=True)
class Window:
    """One monitored span of event time of one model version; ``starts_at`` belongs to it, ``ends_at`` does not.

    Attributes:
        summary: Where its counts and profile lie, latencies, what the options were.
        estimate: Quality as far as it can be told without ground truth; ``None`` where the version carries no estimator.
    """

    model: str
    number: int
    starts_at: datetime
    ends_at: datetime
    rows: int
    rows_with_truth: int
    drift: Finding
    quality: QualityFinding | None
    data: DataFinding
    summary: dict[str, Any]
    profile_digest: str | None
    computed_at: datetime
    estimate: EstimateFinding | None = None

    @property
    def ref(self) -> str:
        return f"{self.model}@{self.number}"

    @property
    def key(self) -> str:
        """Names the window among those of all versions."""
        return f"{self.ref}:{isoformat(self.starts_at)}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model, "number": self.number,
            "starts_at": isoformat(self.starts_at), "ends_at": isoformat(self.ends_at),
            "rows": self.rows, "rows_with_truth": self.rows_with_truth,
            "drift": self.drift.to_dict(),
            "quality": self.quality.to_dict() if self.quality else None,
            "data": self.data.to_dict(),
            "estimate": self.estimate.to_dict() if self.estimate else None,
            "summary": self.summary, "profile_digest": self.profile_digest,
            "computed_at": isoformat(self.computed_at),
        }  # fmt: skip

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> Window:
        return Window(
            model=raw["model"], number=raw["number"],
            starts_at=parse_time(raw["starts_at"]), ends_at=parse_time(raw["ends_at"]),
            rows=raw["rows"], rows_with_truth=raw["rows_with_truth"],
            drift=Finding.from_dict(raw["drift"]),
            quality=QualityFinding.from_dict(raw["quality"]) if raw["quality"] else None,
            data=DataFinding.from_dict(raw["data"]),
            summary=raw["summary"], profile_digest=raw["profile_digest"],
            computed_at=parse_time(raw["computed_at"]),
            estimate=EstimateFinding.from_dict(raw["estimate"]) if raw.get("estimate") else None,
        )  # fmt: skip


def _effect(feature: FeatureFinding, test: TestName | None = None) -> float:
    """The largest effect of one test; of all tests of the values where none is named."""
    found = [
        result.effect or 0.0
        for result in feature.tests
        if (result.test == test if test else result.test != MISSING)
    ]
    return max(found, default=0.0)
