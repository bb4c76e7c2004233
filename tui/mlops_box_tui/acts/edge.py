"""Carry a version out of the box."""

from __future__ import annotations

from pathlib import Path

from mlops_box.box import Box
from mlops_box.edge.targets import TARGETS
from mlops_box.operations.views import VersionRow
from mlops_box.units import format_size
from mlops_box_tui.acts.act import Act, Field, Plan
from mlops_box_tui.acts.models import gates_line, rejected


def _export_plan(box: Box, row: VersionRow) -> Plan:
    version = box.models.get(row.ref)
    size = format_size(row.size_bytes) if row.size_bytes is not None else "?"
    target = TARGETS[0].name
    return Plan(
        (
            f"writes {row.ref} ({len(version.files)} files, {size}) with its runtime as one signed file for a device",
            gates_line(version),
            "targets: " + ", ".join(one.name for one in TARGETS),
            "its wheels are fetched once and kept",
        ),
        (
            Field("target", "target", target),
            Field("out", "file", str(Path(f"{version.model}-{version.number}.mbx").absolute())),
        ),
    )


EXPORT: Act[VersionRow] = Act(
    id="export", key="E", label="export bundle", danger="none",
    tooltip="Write the version as a signed bundle for a device.",
    plan=_export_plan,
    cli=lambda row, form: ["edge", "export", row.ref, "--target", form["target"], "--out", form["out"]],
    applies=rejected,
)  # fmt: skip
