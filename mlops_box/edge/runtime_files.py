"""The code that a bundle carries: the agent and the server of a device, and the box's own modules that they share.

A request is checked, encoded and answered on a device by the same modules as on the box, not by a second version of them.
They need no more than the standard library and numpy, and go along under ``mlops_edge/shared/`` with their imports
pointed there.
"""

from __future__ import annotations

import re
from pathlib import Path

import mlops_box

SHARED = (
    "canonical",
    "clock",
    "data.arrays",
    "data.rows",
    "data.rules",
    "data.times",
    "errors",
    "ids",
    "json_bytes",
    "models.encode",
    "models.encode_columns",
    "models.golden",
    "models.runtime",
    "models.signature",
    "monitoring.buckets",
    "monitoring.counts",
    "monitoring.reference",
    "monitoring.statistics.psi",
    "monitoring.statistics.shares",
    "serving.access",
    "serving.answers",
    "serving.authorization",
    "serving.bearer",
    "serving.columns",
    "serving.door",
    "serving.door_rules",
    "serving.guard",
    "serving.json_body",
    "serving.log_view",
    "serving.memory",
    "serving.metric_table",
    "serving.metrics",
    "serving.metrics_snapshot",
    "serving.problems",
    "serving.protocols.infer",
    "serving.protocols.interface",
    "serving.protocols.tensors",
    "serving.records",
    "serving.replies",
    "serving.request_ids",
    "serving.row_block",
    "serving.row_model",
    "serving.truth",
)
"""Modules of ``mlops_box`` that run on devices too."""

_PACKAGE = Path(mlops_box.__file__).parent
_DEVICE = _PACKAGE / "edge" / "device"
_FOLDER = "shared"
_IMPORT = re.compile(r"^(\s*(?:from|import) )mlops_box\.", re.MULTILINE)
_EMPTY = b'"""Modules of mlops_box that a device shares with the box."""\n'


def device_files() -> dict[str, bytes]:
    """Every file of the runtime layer, by its path under ``runtime/mlops_edge/``; the same bytes every time."""
    files = {
        path.relative_to(_DEVICE).as_posix(): _rewritten(path)
        for path in _DEVICE.rglob("*.py")
        if "__pycache__" not in path.parts
    }
    files[f"{_FOLDER}/__init__.py"] = _EMPTY
    for module in SHARED:
        path = Path(*module.split(".")).with_suffix(".py")
        files[f"{_FOLDER}/{path.as_posix()}"] = _rewritten(_PACKAGE / path)
        for parent in list(path.parents)[:-1]:
            files[f"{_FOLDER}/{parent.as_posix()}/__init__.py"] = _EMPTY
    return dict(sorted(files.items()))


def _rewritten(path: Path) -> bytes:
    return _IMPORT.sub(rf"\1mlops_edge.{_FOLDER}.", path.read_text(encoding="utf-8")).encode()
