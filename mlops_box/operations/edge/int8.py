"""Decide once per version whether its bundles carry int8: timings differ from day to day, a bundle's bytes must not."""

from __future__ import annotations

from dataclasses import asdict

from mlops_box.box import Box
from mlops_box.canonical import sha256_hex
from mlops_box.edge.quantise import Int8Report, judge_int8, loosened, quantised
from mlops_box.errors import BoxError
from mlops_box.evaluation.evaluate import leading_metric
from mlops_box.models.golden import Golden
from mlops_box.models.values import GOLDEN_FILE, PACKED_FILE, ModelVersion
from mlops_box.operations.edge.held_out import held_out_rows
from mlops_box.project import Project

_ACT = "edge.int8"


def choose_precision(box: Box, version: ModelVersion, project: Project) -> tuple[Int8Report, bytes, bytes]:
    """(the verdict, the graph to carry, its golden rows). The first verdict on a version stands."""
    packed, golden = box.models.file(version, PACKED_FILE), box.models.file(version, GOLDEN_FILE)
    report, graph = _remembered(box, version, packed) or _judged(box, version, project, packed, golden)
    if not report.used:
        return report, packed, golden
    return report, graph, loosened(Golden.from_json(golden)).to_json().encode()


def _remembered(box: Box, version: ModelVersion, packed: bytes) -> tuple[Int8Report, bytes] | None:
    """The verdict in the ledger, if this onnxruntime still makes the graph that it was about."""
    for entry in box.ledger.entries(subject=f"version:{version.ref}"):
        if entry.act != _ACT or entry.facts["digest"] != version.digest:
            continue
        report = Int8Report(**entry.facts["report"])
        if not report.used:
            return report, packed
        graph = quantised(packed)
        if sha256_hex(graph) == entry.facts["sha256"]:
            return report, graph
    return None


def _judged(
    box: Box, version: ModelVersion, project: Project, packed: bytes, golden: bytes
) -> tuple[Int8Report, bytes]:
    try:
        rows = held_out_rows(box, version)
    except BoxError as error:
        # Not remembered: the rows may come back, from a backup say.
        return Int8Report(False, f"int8 cannot be judged: {error.message}", len(packed)), packed
    metric = leading_metric(project.gates, version.task)
    report, graph = judge_int8(packed, version.signature, Golden.from_json(golden), rows, metric=metric)
    facts = {"digest": version.digest, "report": asdict(report), "sha256": sha256_hex(graph)}
    box.ledger.record(_ACT, f"version:{version.ref}", facts)
    return report, graph
