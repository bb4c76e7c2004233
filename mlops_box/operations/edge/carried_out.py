"""Which bundles of a version left the box, as the ledger tells."""

from __future__ import annotations

from mlops_box.box import Box
from mlops_box.clock import isoformat
from mlops_box.models.values import ModelVersion
from mlops_box.units import format_size

EXPORT_ACT = "edge.export"


def carried_out(box: Box, version: ModelVersion) -> list[str]:
    """One line per bundle, oldest first: when, by whom, for which devices, its size and SHA-256."""
    return [
        f"{isoformat(entry.at)} by {entry.actor}: {entry.facts['target']}, {entry.facts['kind']}, "
        f"{entry.facts['precision']}, {format_size(entry.facts['size_bytes'])}, sha256 {entry.facts['sha256'][:16]}"
        for entry in reversed(box.ledger.entries(subject=f"version:{version.ref}"))
        if entry.act == EXPORT_ACT
    ]
