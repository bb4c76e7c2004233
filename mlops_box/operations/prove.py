"""Does a version still answer what it answered when it was made?"""

from __future__ import annotations

from mlops_box.box import Box
from mlops_box.errors import IntegrityError
from mlops_box.models.values import GOLDEN_FILE, PACKED_FILE, ModelVersion


def prove(box: Box, version: ModelVersion) -> None:
    """Raises :class:`IntegrityError` where a version's files are damaged or its golden rows come out otherwise."""
    from mlops_box.models.golden import Golden, check_golden
    from mlops_box.models.runtime import OnnxModel

    model = OnnxModel(box.models.file(version, PACKED_FILE), version.signature)
    problems = check_golden(model, Golden.from_json(box.models.file(version, GOLDEN_FILE)))
    if problems:
        raise IntegrityError(
            f"{version.ref} does not answer its golden rows here: {problems[0]}",
            hint="the runtime differs from the one it was made with; train again",
        )
