"""Watching live traffic: profiles, drift, quality, alerts, policy.

``DriftDetector(reference).check(window)`` works without a box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops_box.monitoring.drift import DriftDetector
    from mlops_box.monitoring.rate import RateFinding, judge_rate
    from mlops_box.monitoring.reference import Reference
    from mlops_box.monitoring.values import FeatureFinding, Finding

__all__ = ["DriftDetector", "FeatureFinding", "Finding", "RateFinding", "Reference", "judge_rate"]


def __getattr__(name: str) -> Any:
    """Import on first use: numpy and pyarrow stay out of programs that only ask for a store."""
    import importlib

    homes = {
        "DriftDetector": "drift",
        "Reference": "reference",
        "FeatureFinding": "values",
        "Finding": "values",
        "RateFinding": "rate",
        "judge_rate": "rate",
    }
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{homes[name]}"), name)
