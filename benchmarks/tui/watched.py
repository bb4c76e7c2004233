"""What monitoring left of the models of the box: references, counts, findings."""

from __future__ import annotations

from typing import Any

from mlops_box.monitoring.values import DataFinding, FeatureFinding, Finding, QualityFinding, TestResult

FEATURES = ("temp", "hum", "wind", "hour", "weekday", "load", "price", "age")
_TESTED = {"ks": "KS distance", "missing": "share of missing values"}


def reference_of(place: int) -> dict[str, Any]:
    """The reference of a model's training data."""
    return {
        "format": 1, "rows": 8623,
        "columns": [
            {
                "kind": "numeric", "name": name, "edges": [0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
                "counts": [0, 400 + 10 * place, 1900, 3200, 2400, 723, 0], "nulls": 0, "minimum": 0.02,
                "maximum": 1.0, "mean": 0.5, "std": 0.2, "discrete": False, "single": True,
            }
            for name in FEATURES
        ],
    }  # fmt: skip


def window_summary(place: int) -> dict[str, Any]:
    """The counts of a window."""
    column = {"counts": [0, 20 + place, 90, 300, 760, 650, 0], "nulls": 0, "rank_error": 0.0}
    return {"rows": 1820, "columns": [column] * len(FEATURES)}


def window_finding(strength: float) -> dict[str, Any]:
    """A window of which the first column drifted where ``strength`` is above 0.1."""
    features = tuple(
        _feature(name, strength if place == 0 else 0.03 + place / 200) for place, name in enumerate(FEATURES)
    )
    drifted = strength > 0.1
    reason = "temp drifted: KS distance above its limit 0.1" if drifted else "no column drifted"
    drift = Finding("drift" if drifted else "fine", 1820, 8623, 200, 0.01, 0.1, False, reason, features)
    quality = QualityFinding(
        "fine", "mae", 42.1, 41.7, 0.01, -0.01, 0.03, 0.2, 1820, 1200, 200, "mae is as on the held-out rows"
    )
    data = DataFinding("fine", 1820, 0, (), "every answer was finite")
    return {"drift": drift.to_dict(), "quality": quality.to_dict(), "data": data.to_dict()}


def _feature(name: str, effect: float) -> FeatureFinding:
    drifted = effect > 0.1
    outcome = "drift" if drifted else "fine"
    tests = tuple(
        TestResult(
            test, outcome if test == "ks" else "fine", 0.31, 0.4, effect if test == "ks" else 0.001, 0.1,
            f"{what} {effect:.3f}",
        )
        for test, what in _TESTED.items()
    )  # fmt: skip
    return FeatureFinding(
        name, "numeric", "drift" if drifted else "fine", tests, 1820, 0.0, 0.001, psi=effect * 1.1, js=effect / 3,
        wasserstein=effect / 2, outside=0.004,
    )  # fmt: skip
