"""Does a breach of parity keep a version from being promoted?"""

from __future__ import annotations

from mlops_box.box import Box
from mlops_box.errors import GateError
from mlops_box.models.values import ModelVersion


def parity_block(box: Box, version: ModelVersion) -> str | None:
    """Why a version may not be promoted: an alert about parity stands, over a definition that it pins, and blocks.

    A version with other definitions is let in: it may be what mends the breach.
    """
    pins = set((version.lineage.get("features") or {}).values())
    standing = box.alerts.unresolved(version.model, "parity") if pins else None
    if standing is None or not standing.finding["blocks"]:
        return None
    if not pins & set(standing.finding["definitions"].values()):
        return None
    return f"parity of its features is broken: {standing.title} (mlops-box why {standing.id})"


def require_parity(box: Box, version: ModelVersion) -> None:
    """Raises :class:`GateError` where :func:`parity_block` has a reason."""
    blocked = parity_block(box, version)
    if blocked is not None:
        raise GateError(
            f"{version.ref} is not promoted: {blocked}", hint=f"mlops-box features parity {version.model}"
        )
