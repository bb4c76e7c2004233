"""What differs between two versions of a model: metrics, gates, slices, data, answers, features, environment, lineage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from mlops_box.box import Box
from mlops_box.evaluation.gates import PARITY
from mlops_box.evaluation.metrics import better_by
from mlops_box.models.values import ENVIRONMENT_FILE, GateResult, ModelVersion
from mlops_box.operations.compare_answers import AnswersDiff, compare_answers
from mlops_box.operations.compare_data import DataDiff, SliceChange, compare_data, compare_slices

VERDICTS = {True: "passed", False: "failed", None: "not judged"}


@dataclass(frozen=True)
class Change:
    """One thing that differs; ``None`` where a side does not have it."""

    what: str
    a: Any
    b: Any


@dataclass(frozen=True)
class GatePair:
    """One gate of both versions; ``None`` where a version does not have it."""

    name: str
    a: GateResult | None
    b: GateResult | None

    def to_dict(self) -> dict[str, Any]:
        return {"a": _gate_values(self.a), "b": _gate_values(self.b)}


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
    gate_values: tuple[GatePair, ...]
    slices: tuple[SliceChange, ...]
    data: DataDiff
    answers: AnswersDiff

    def to_dict(self) -> dict[str, Any]:
        def plain(changes: tuple[Change, ...]) -> dict[str, dict[str, Any]]:
            return {change.what: {"a": change.a, "b": change.b} for change in changes}

        return {
            "a": self.a, "b": self.b, "same_rows": self.same_rows, "metrics": {
                change.what: {"a": change.a, "b": change.b, "difference": difference(change.a, change.b),
                              "better": better_side(change.what, change.a, change.b)}
                for change in self.metrics
            },
            "gates": plain(self.gates), "features": plain(self.features),
            "environment": plain(self.environment), "lineage": plain(self.lineage),
            "gate_values": {pair.name: pair.to_dict() for pair in self.gate_values},
            "slices": [part.to_dict() for part in self.slices], "data": self.data.to_dict(),
            "answers": self.answers.to_dict(),
        }  # fmt: skip


def difference(a: float | None, b: float | None) -> float | None:
    """``b - a``; unknown where a side is."""
    return None if a is None or b is None else b - a


def better_side(metric: str, a: float | None, b: float | None) -> Literal["a", "b", "same"] | None:
    """Which side is better by a metric; ``None`` where that is not known."""
    if a is None or b is None:
        return None
    gain = better_by(metric, b, a)
    return "same" if abs(gain) < 1e-12 else "b" if gain > 0 else "a"


def margin(gate: GateResult) -> float | None:
    """How far the value is within the gate's limit, in the value's unit: negative beyond it, ``None`` where not judged."""
    if gate.passed is None or gate.value is None or gate.limit is None:
        return None
    if gate.name == PARITY:  # fails by one wrong label too, however few rows are over
        return gate.limit - gate.value
    room = abs(gate.limit - gate.value)
    return room if gate.passed else -room


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
        gate_values=_gate_pairs(first, second),
        slices=compare_slices(box, first, second),
        data=compare_data(box, first, second),
        answers=compare_answers(box, first, second),
    )


def _changes(a: dict[str, Any], b: dict[str, Any]) -> tuple[Change, ...]:
    names = dict.fromkeys([*a, *b])
    return tuple(Change(name, a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name))


def _gates(version: ModelVersion) -> dict[str, Any]:
    return {gate.name: VERDICTS[gate.passed] for gate in version.gates}


def _gate_pairs(a: ModelVersion, b: ModelVersion) -> tuple[GatePair, ...]:
    of_a, of_b = ({gate.name: gate for gate in version.gates} for version in (a, b))
    return tuple(GatePair(name, of_a.get(name), of_b.get(name)) for name in dict.fromkeys([*of_a, *of_b]))


def _gate_values(gate: GateResult | None) -> dict[str, Any] | None:
    if gate is None:
        return None
    return {"passed": gate.passed, "value": gate.value, "limit": gate.limit, "margin": margin(gate)}


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
