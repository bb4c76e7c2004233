"""What differs between two versions of a model: metrics, gates, features, environment, lineage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mlops_box.box import Box
from mlops_box.models.values import ENVIRONMENT_FILE, ModelVersion


@dataclass(frozen=True)
class Change:
    """One thing that differs; ``None`` where a side does not have it."""

    what: str
    a: Any
    b: Any


@dataclass(frozen=True)
class VersionDiff:
    """Two versions side by side. Metrics stand for all, the rest only where it differs.

    ``same_rows``: both were measured on the same held-out rows (one snapshot, one split); otherwise their metrics come
    from different rows and say little about which is better.
    """

    a: str
    b: str
    same_rows: bool
    metrics: tuple[Change, ...]
    gates: tuple[Change, ...]
    features: tuple[Change, ...]
    environment: tuple[Change, ...]
    lineage: tuple[Change, ...]

    def to_dict(self) -> dict[str, Any]:
        def plain(changes: tuple[Change, ...]) -> dict[str, dict[str, Any]]:
            return {change.what: {"a": change.a, "b": change.b} for change in changes}

        return {
            "a": self.a, "b": self.b, "same_rows": self.same_rows, "metrics": plain(self.metrics),
            "gates": plain(self.gates), "features": plain(self.features),
            "environment": plain(self.environment), "lineage": plain(self.lineage),
        }  # fmt: skip


def compare_versions(box: Box, a: str, b: str) -> VersionDiff:
    """Hold two versions side by side.

    Raises:
        NotFoundError: One of them does not exist.
    """
    first, second = box.models.get(a), box.models.get(b)
    lineage_a, lineage_b = _lineage(first), _lineage(second)
    split_a, split_b = (version.lineage.get("split") for version in (first, second))
    seed_a, seed_b = (version.lineage.get("seed") for version in (first, second))
    names = dict.fromkeys([*first.metrics, *second.metrics])
    return VersionDiff(
        a=first.ref,
        b=second.ref,
        same_rows=first.snapshot_id == second.snapshot_id and split_a == split_b and seed_a == seed_b,
        metrics=tuple(Change(name, first.metrics.get(name), second.metrics.get(name)) for name in names),
        gates=_changes(_gates(first), _gates(second)),
        features=_changes(_features(first), _features(second)),
        environment=_changes(_environment(box, first), _environment(box, second)),
        lineage=_changes(lineage_a, lineage_b),
    )


def _changes(a: dict[str, Any], b: dict[str, Any]) -> tuple[Change, ...]:
    names = dict.fromkeys([*a, *b])
    return tuple(Change(name, a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name))


def _gates(version: ModelVersion) -> dict[str, Any]:
    words = {True: "passed", False: "failed", None: "not judged"}
    return {gate.name: words[gate.passed] for gate in version.gates}


def _features(version: ModelVersion) -> dict[str, Any]:
    return {feature.name: f"{feature.kind} ({feature.type})" for feature in version.signature.features}


def _environment(box: Box, version: ModelVersion) -> dict[str, Any]:
    if ENVIRONMENT_FILE not in version.files:
        return {}
    raw = json.loads(box.models.file(version, ENVIRONMENT_FILE))
    return _flat(raw)


def _lineage(version: ModelVersion) -> dict[str, Any]:
    return _flat({"snapshot": version.snapshot_id, "state": version.state, **version.lineage})


def _flat(raw: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in raw.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
