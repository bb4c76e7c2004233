"""A model version and its signature: what training hands over and serving reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from mlops_box.models.signature import Feature as Feature
from mlops_box.models.signature import Signature as Signature

if TYPE_CHECKING:
    # The declaration's models are pydantic's: whoever only reads versions does without.
    from mlops_box.project import Task

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
