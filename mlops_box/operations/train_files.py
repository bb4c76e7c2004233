"""The files of a version, from what a training found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlops_box
from mlops_box.box import Box
from mlops_box.clock import isoformat
from mlops_box.models.values import (
    CARD_FILE,
    ENVIRONMENT_FILE,
    EVALUATION_FILE,
    GOLDEN_FILE,
    MODEL_FILE,
    PACKED_FILE,
    PARITY_FILE,
    PROFILE_FILE,
    REFERENCE_FILE,
    SIGNATURE_FILE,
    GateResult,
    ModelVersion,
)
from mlops_box.operations.monitor_files import watch_files
from mlops_box.project import LoadedProject, Split

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_box.data.values import Snapshot
    from mlops_box.evaluation.card import Picture
    from mlops_box.evaluation.compare import Comparison
    from mlops_box.evaluation.evaluate import Answers, Evaluation
    from mlops_box.training.trainer import Trained


@dataclass(frozen=True)
class Found:
    """All that a training found out, before it is registered.

    Attributes:
        window: Which rows of the snapshot were chosen, see :class:`TrainingWindow`.
        train: The rows learnt from.
        features: The digests of the feature definitions that its features come from, by view.
    """

    project: LoadedProject
    snapshot: Snapshot
    window: dict[str, Any]
    train: pa.Table
    trained: Trained
    answers: Answers
    evaluation: Evaluation
    gates: tuple[GateResult, ...]
    accepted: bool
    run_id: str
    trigger: str
    at: datetime
    features: Mapping[str, str]

    def lineage(self) -> dict[str, Any]:
        """What the version was made of and by whom; part of its manifest."""
        declared, environment = self.project.declaration, self.trained.environment
        return {
            "program": f"mlops-box {mlops_box.__version__}",
            "git": environment.get("git"),
            "code": environment.get("code"),
            "seed": declared.model.seed,
            "params": declared.model.params,
            "train": declared.model.train,
            "split": declared.model.split.model_dump(mode="json"),
            "project_digest": self.project.digest,
            "description": declared.project.description,
            "window": self.window,
            "rows_train": self.evaluation.rows_train,
            "rows_test": self.evaluation.rows_test,
            "time_min": isoformat(self.snapshot.time_min) if self.snapshot.time_min else None,
            "time_max": isoformat(self.snapshot.time_max) if self.snapshot.time_max else None,
            "trigger": self.trigger,
            "champion": self.evaluation.comparison.champion if self.evaluation.comparison else None,
            **({"features": dict(self.features)} if self.features else {}),
        }


def version_files(found: Found) -> dict[str, bytes]:
    """Every file of the version by its name in the manifest."""
    from mlops_box.monitoring.profile import profile_table
    from mlops_box.monitoring.reference_tables import build_reference

    trained, features = found.trained, [feature.name for feature in found.trained.signature.features]
    output = found.answers.output
    predictions = output.prediction if output.prediction is not None else output.probability
    reference = build_reference(found.train, trained.signature, predictions=predictions)
    return {
        MODEL_FILE: trained.model_onnx,
        PACKED_FILE: trained.packed_onnx,
        SIGNATURE_FILE: trained.signature.to_json().encode(),
        GOLDEN_FILE: trained.golden.to_json().encode(),
        PARITY_FILE: trained.parity.to_json().encode(),
        REFERENCE_FILE: reference.to_bytes(),
        PROFILE_FILE: profile_table(found.train.select(features), at=found.at),
        EVALUATION_FILE: found.evaluation.to_json().encode(),
        ENVIRONMENT_FILE: json.dumps(trained.environment, sort_keys=True, default=str).encode(),
        CARD_FILE: _card(found),
        **watch_files(found, reference),
    }


def stored_comparison(box: Box, version: ModelVersion) -> Comparison | None:
    """What the version was compared with when it was judged, as its evaluation tells."""
    from mlops_box.evaluation.compare import Comparison

    raw = json.loads(box.models.file(version, EVALUATION_FILE))["comparison"]
    return Comparison(**raw) if raw else None


def _card(found: Found) -> bytes:
    from mlops_box.evaluation.card import CardFacts, describe_use, render_card
    from mlops_box.evaluation.evaluate import leading_metric

    declared, evaluation = found.project.declaration, found.evaluation
    metric = leading_metric(declared.gates, declared.model.task)
    return render_card(
        CardFacts(
            model=found.project.model_name,
            created_at=found.at,
            accepted=found.accepted,
            intended_use=describe_use(declared.project.description, found.trained.signature, found.snapshot),
            signature=found.trained.signature,
            snapshot=found.snapshot,
            rows_train=evaluation.rows_train,
            rows_test=evaluation.rows_test,
            split=_split_text(declared.model.split),
            metric=metric,
            metrics=evaluation.metrics,
            comparison=evaluation.comparison,
            gates=found.gates,
            slices=evaluation.slices,
            importance=evaluation.importance,
            pictures=tuple(_pictures(found, metric)),
            lineage=tuple(_lineage_lines(found)),
        )
    )


def _pictures(found: Found, metric: str) -> list[Picture]:
    import numpy as np

    from mlops_box.evaluation import plots
    from mlops_box.evaluation.card import Picture

    evaluation, pictures = found.evaluation, []
    if evaluation.residuals is not None:
        prediction = np.asarray(found.answers.output.prediction, dtype=np.float64)
        seed = found.project.declaration.model.seed
        svg = plots.residual_plot(found.answers.truth, prediction, evaluation.residuals, seed=seed)
        note = (
            "The error of each held-out row against its prediction, with the median and the middle 90 % by predicted "
            "value; a pattern is something the model missed."
        )
        pictures.append(Picture("Residuals", note, svg))
    if evaluation.reliability is not None:
        said = evaluation.reliability
        note = (
            "Near the diagonal, a predicted probability means what it says; a larger point holds more rows. "
            f"Brier score {said.brier:.4g}, expected calibration error {said.ece:.4g}."
        )
        pictures.append(Picture("Calibration", note, plots.calibration_plot(said)))
    if found.evaluation.importance:
        svg = plots.importance_plot(found.evaluation.importance, metric=metric)
        note = f"By how much {metric} worsens on held-out rows when one feature is shuffled; correlated features share it."
        pictures.append(Picture("Feature importance", note, svg))
    return pictures


def _lineage_lines(found: Found) -> list[tuple[str, str]]:
    environment = found.trained.environment
    git, code = environment.get("git"), environment.get("code") or {}
    commit = "not in a git repository"
    if git:
        commit = f"{git['commit']}{' (with uncommitted changes)' if git.get('dirty') else ''}"
    packages = environment.get("packages") or {}
    programs = ", ".join(f"{name} {version}" for name, version in packages.items())
    source = found.snapshot.lineage
    files = [
        f"{Path(str(item['path'])).name} (sha256 {str(item['sha256'])[:16]})"
        for item in source.get("files") or []
    ]
    lines = [
        ("Run", f"{found.run_id} (started by: {found.trigger})"),
        ("Snapshot", found.snapshot.id),
        ("Declaration", f"mlops.toml, digest {found.project.digest[:16]}"),
        (
            "Training code",
            f"{found.project.declaration.model.train}, sha256 {str(code.get('sha256', ''))[:16]}",
        ),
        ("Git commit", commit),
        ("Seed", str(found.project.declaration.model.seed)),
        ("Environment", f"Python {environment.get('python')}, {programs}"),
    ]
    shown = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    lines.insert(2, ("Source", f"{source.get('source')}: {shown}" if shown else str(source.get("source"))))
    return lines


def _split_text(split: Split) -> str:
    share = f"{split.test:.0%}"
    if split.by == "time":
        return f"the newest {share} by time"
    if split.by == "key":
        return f"{share} of the groups by {split.key}"
    return f"{share} at random, by a seeded hash of the row"
