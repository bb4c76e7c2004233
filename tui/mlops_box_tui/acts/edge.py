"""Carry a version out of the box."""

from __future__ import annotations

from pathlib import Path

from mlops_box.box import Box
from mlops_box.operations.views import VersionRow
from mlops_box.units import format_size
from mlops_box_tui.acts.act import Act, Done, Field, Form, Plan
from mlops_box_tui.acts.models import gates_line


def _export_plan(box: Box, row: VersionRow) -> Plan:
    version = box.models.get(row.ref)
    size = format_size(row.size_bytes) if row.size_bytes is not None else "?"
    target = (Path() / f"{version.model}-{version.number}.mbx").absolute()
    return Plan(
        (
            f"writes {row.ref} as one signed file for devices: {len(version.files)} files, {size}",
            gates_line(version),
        ),
        (Field("out", "file", str(target)),),
    )


def _export(box: Box, row: VersionRow, form: Form) -> Done:
    # Signing and packing are needed by nothing else here.
    from mlops_box.operations.edge.bundle import export_bundle

    report = export_bundle(box, row.ref, target=Path(form["out"]).expanduser().absolute())
    return Done(f"{report.path}: {row.ref}, {format_size(report.size_bytes)}, signed by {report.key}")


EXPORT: Act[VersionRow] = Act(
    id="export", key="E", label="export bundle", danger="none",
    tooltip="Write the version as a signed bundle for devices.",
    plan=_export_plan, run=_export,
    cli=lambda row, form: ["edge", "export", row.ref, "--out", form["out"]],
    applies=lambda row: f"{row.ref} was rejected by its gates" if row.state == "rejected" else None,
)  # fmt: skip
