"""Does a version need a person's yes before it serves?"""

from __future__ import annotations

from mlops_box.box import Box
from mlops_box.errors import GateError
from mlops_box.models.values import ModelVersion


def lacks_approval(box: Box, version: ModelVersion) -> bool:
    """Whether the version's project asks for an approval and none stands."""
    registered = box.projects.for_model(version.model)
    if registered is None or registered.declaration.gates.approval == "none":
        return False
    return box.approvals.standing(version) is None


def require_approval(box: Box, version: ModelVersion) -> None:
    """Raises :class:`GateError` where an approval is asked for and none stands."""
    if not lacks_approval(box, version):
        return
    expired = "; the one it had has expired" if box.approvals.list(version) else ""
    raise GateError(
        f"{version.ref} needs an approval before it serves{expired}",
        hint=f'mlops-box models approve {version.ref} --reason "..." (by somebody other than its author)',
    )
