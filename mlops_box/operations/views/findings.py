"""A stored finding as values: drift, quality, data, or what else it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlops_box.monitoring.values import DataFinding, Finding, QualityFinding


@dataclass(frozen=True)
class FindingView:
    """What a window or an alert holds; each part is ``None`` where it is absent.

    ``rest`` is what this program has no value for, shown as it is.
    """

    drift: Finding | None
    quality: QualityFinding | None
    data: DataFinding | None
    rest: dict[str, Any]


def read_finding(raw: dict[str, Any]) -> FindingView:
    """Read the JSON of a finding: parts under ``drift``, ``quality`` and ``data``, or one part alone."""
    parts: dict[str, Any] = {}
    rest = dict(raw)
    for name in ("drift", "quality", "data"):
        part = rest.pop(name, None)
        if isinstance(part, dict):
            parts[name] = part
    if "features" in rest and "fdr" in rest:
        parts.setdefault("drift", rest)
    elif "realised" in rest:
        parts.setdefault("quality", rest)
    elif "not_finite" in rest:
        parts.setdefault("data", rest)
    if rest in parts.values():
        rest = {}
    return FindingView(
        _part(Finding, parts.get("drift")),
        _part(QualityFinding, parts.get("quality")),
        _part(DataFinding, parts.get("data")),
        rest,
    )


def _part(kind: Any, raw: dict[str, Any] | None) -> Any:
    if raw is None:
        return None
    try:
        return kind.from_dict(raw)
    except (KeyError, TypeError, ValueError):
        # Written by another version of this program: unknown, not an error of the reader.
        return None
