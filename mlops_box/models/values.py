"""A model version and its signature: what training hands over and serving reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from mlops_box.project import Task

Kind = Literal["numeric", "categorical"]

# The files of a version, by name in its manifest.
MODEL_FILE = "model.onnx"  # one named, typed input [n, 1] per feature: the model for everybody
PACKED_FILE = "packed.onnx"  # the same graph behind two inputs, numeric and text: the model for the server
SIGNATURE_FILE = "signature.json"
GOLDEN_FILE = "golden.json"
REFERENCE_FILE = "reference.json"
PROFILE_FILE = "reference.profile"
BASELINE_FILE = "reference.windows"  # the same rows counted window by window: how much windows differ anyway
ROWS_FILE = "reference.rows"  # a few thousand of them whole
PARITY_FILE = "parity.json"
ESTIMATE_FILE = "estimate.json"  # how to estimate the quality of answers whose truth is not known yet
EVALUATION_FILE = "evaluation.json"
ENVIRONMENT_FILE = "environment.json"
CARD_FILE = "card.html"


@dataclass(frozen=True)
class Feature:
    """One input of a model.

    Attributes:
        kind: ``numeric`` goes in as float32 (missing = NaN), ``categorical`` as text (missing = "").
        type: The column's type in the contract: boolean, bigint, double or varchar.
        values: What a categorical feature took in training, most frequent first; ``None`` for numbers.
    """

    name: str
    kind: Kind
    type: str
    values: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a model, in order.

    Packed inputs are ``numeric`` float32 [n, number of numeric features] and ``text`` string [n, number of categorical
    features]; an input without columns is absent from the graph. Outputs: ``prediction`` float32 [n] for regression;
    ``probability`` float32 [n, number of classes] and ``label`` int64 [n], an index into ``classes``, otherwise.
    """

    task: Task
    target: str
    features: tuple[Feature, ...]
    classes: tuple[str | int | bool, ...] | None = None

    @property
    def numeric(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features if feature.kind == "numeric")

    @property
    def categorical(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features if feature.kind == "categorical")

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Signature:
        raw = json.loads(text)
        features = tuple(
            Feature(
                item["name"],
                item["kind"],
                item["type"],
                tuple(item["values"]) if item["values"] is not None else None,
            )
            for item in raw["features"]
        )
        classes = tuple(raw["classes"]) if raw["classes"] is not None else None
        return Signature(raw["task"], raw["target"], features, classes)


@dataclass(frozen=True)
class GateResult:
    """One gate: passed or not, or ``passed=None`` where it could not be judged (no champion yet, too few rows)."""

    name: str
    passed: bool | None
    message: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class VersionDraft:
    """All that makes a version, before it has a number. ``files`` maps names to object digests."""

    model: str
    project: str
    task: Task
    accepted: bool
    signature: Signature
    files: dict[str, str]
    metrics: dict[str, float]
    gates: tuple[GateResult, ...]
    snapshot_id: str
    run_id: str | None
    lineage: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelVersion:
    """An immutable version ``model@number``. ``digest`` is the SHA-256 of its manifest: files, signature, lineage."""

    model: str
    number: int
    project: str
    state: Literal["accepted", "rejected"]
    task: Task
    digest: str
    files: dict[str, str]
    signature: Signature
    metrics: dict[str, float]
    gates: tuple[GateResult, ...]
    snapshot_id: str
    run_id: str | None
    created_at: datetime
    created_by: str
    lineage: dict[str, Any] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        return f"{self.model}@{self.number}"
