"""Delete a version that never did anything."""

from __future__ import annotations

from mlops_box.box import Box
from mlops_box.operations.views import VersionRow
from mlops_box.units import format_size
from mlops_box_tui.acts.act import Act, Done, Form, Plan, reason_field
from mlops_box_tui.acts.models import gates_line


def _delete_plan(box: Box, row: VersionRow) -> Plan:
    from mlops_box.operations.delete_version import deletable

    found = deletable(box, row.ref)
    version = found.version
    return Plan(
        (
            f"{version.ref} ({version.state}) of {version.created_at:%Y-%m-%d %H:%M} UTC is gone for ever",
            gates_line(version),
            f"{len(found.digests)} of its {len(version.files)} files, {format_size(found.size_bytes)}: no other has them",
            "its entries in the ledger stay; its number is not given again",
        ),
        (reason_field(),),
        name=version.ref,
    )


def _delete(box: Box, row: VersionRow, form: Form) -> Done:
    from mlops_box.operations.delete_version import delete_version

    gone = delete_version(box, row.ref, reason=form["reason"])
    return Done(f"{row.ref} is gone, and {format_size(gone.size_bytes)} that only it had")


DELETE: Act[VersionRow] = Act(
    id="delete", key="D", label="delete", many=True, danger="name",
    tooltip="Delete a version that never served and that nothing refers to; its name has to be typed.",
    plan=_delete_plan, run=_delete,
    cli=lambda row, form: ["models", "delete", row.ref, "--reason", form["reason"], "--confirm", row.ref],
    applies=lambda row: f"{row.ref} is {row.aliases[0]}" if row.aliases else None,
)  # fmt: skip
