"""A CycloneDX ML-BOM: the model, what it learnt from and what it runs on, in the form that inventories read.

CycloneDX 1.6 (ECMA-424), JSON; the model card is its ``modelCard``.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import mlops_box
from mlops_box.canonical import canonical_json
from mlops_box.clock import isoformat
from mlops_box.edge.targets import Wheel
from mlops_box.models.values import ModelVersion

_SNAPSHOT = "snapshot"


def ml_bom(
    version: ModelVersion,
    evaluation: Mapping[str, Any],
    wheels: Sequence[Wheel],
    *,
    graph_sha256: str,
    precision: str,
) -> bytes:
    """The BOM of one version on one target; the same bytes for the same input.

    Args:
        evaluation: ``evaluation.json`` of the version: the graph in float32 on the held-out rows.
        wheels: What it runs on.
        graph_sha256: Of the graph in the bundle.
        precision: ``float32`` or ``int8``.
    """
    libraries = [_library(wheel) for wheel in wheels]
    model = {
        "type": "machine-learning-model", "bom-ref": version.ref, "name": version.model,
        "version": str(version.number), "description": str(version.lineage.get("description") or ""),
        "hashes": [{"alg": "SHA-256", "content": graph_sha256}],
        "properties": [
            {"name": "mlops-box:version_digest", "value": version.digest},
            {"name": "mlops-box:precision", "value": precision},
        ],
        "modelCard": _card(version, evaluation),
    }  # fmt: skip
    snapshot = {
        "type": "data", "bom-ref": _SNAPSHOT, "name": f"snapshot of {version.project}",
        "version": version.snapshot_id,
        "data": [{"type": "dataset", "name": version.project, "description": _rows(evaluation)}],
    }  # fmt: skip
    digest = canonical_json([version.digest, graph_sha256, [wheel.sha256 for wheel in wheels]])
    return canonical_json(
        {
            "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
            "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
            "metadata": {
                "timestamp": isoformat(version.created_at),
                "tools": {
                    "components": [
                        {"type": "application", "name": "mlops-box", "version": mlops_box.__version__}
                    ]
                },
                "component": model,
            },
            "components": [snapshot, *libraries],
            "dependencies": [
                {"ref": version.ref, "dependsOn": [_SNAPSHOT, *(item["bom-ref"] for item in libraries)]}
            ],
        }
    ).encode()  # fmt: skip


def _library(wheel: Wheel) -> dict[str, Any]:
    purl = f"pkg:pypi/{wheel.name}@{wheel.version}"
    return {
        "type": "library", "bom-ref": purl, "name": wheel.name, "version": wheel.version, "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": wheel.sha256}],
    }  # fmt: skip


def _card(version: ModelVersion, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    signature = version.signature
    answers = [signature.target] if signature.classes is None else [str(item) for item in signature.classes]
    judged = [gate for gate in version.gates if gate.passed is not None]
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": version.task,
            "datasets": [{"ref": _SNAPSHOT}],
            "inputs": [{"format": f"{feature.name}: {feature.type}"} for feature in signature.features],
            "outputs": [{"format": text} for text in answers],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [
                {"type": name, "value": f"{value:.6g}"}
                for name, value in sorted(evaluation["metrics"].items())
            ]
            + [
                {"type": name, "value": f"{value:.6g}", "slice": f"{part['by']} = {part['value']}"}
                for part in evaluation["slices"]
                for name, value in sorted(part["metrics"].items())
            ]
        },
        "considerations": {
            "technicalLimitations": [
                "Answers rows like those it learnt from; drift against them is counted on the device.",
                *(f"{gate.name}: {gate.message}" for gate in judged),
            ]
        },
    }


def _rows(evaluation: Mapping[str, Any]) -> str:
    return f"{evaluation['rows_train']} rows to learn from, {evaluation['rows_test']} held out"
