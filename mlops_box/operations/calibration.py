"""How far a version's predictions mean what they say, as recorded when it was judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlops_box.box import Box
from mlops_box.errors import BoxError
from mlops_box.evaluation.calibration import Reliability, Residuals
from mlops_box.models.values import EVALUATION_FILE

NOT_RECORDED = "not recorded: this version was trained before calibration was kept; train it again to see it"


@dataclass(frozen=True)
class Calibration:
    """Of a classifier ``reliability``, of a regression ``residuals``; ``problem`` says why there is neither."""

    reliability: Reliability | None = None
    residuals: Residuals | None = None
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "reliability": self.reliability.to_dict() if self.reliability else None,
            "residuals": self.residuals.to_dict() if self.residuals else None,
            "problem": self.problem,
        }


def stored_calibration(box: Box, files: Mapping[str, str]) -> Calibration:
    """From the version's ``evaluation.json``; what is not there or cannot be read is said, never raised.

    Args:
        files: Digest by name, as in the version's manifest.
    """
    if EVALUATION_FILE not in files:
        return Calibration(problem="not recorded: this version has no evaluation")
    try:
        raw = json.loads(box.objects.read(files[EVALUATION_FILE]))
        found, errors = raw.get("reliability"), raw.get("residuals")
        if not found and not errors:
            return Calibration(problem=NOT_RECORDED)
        return Calibration(
            Reliability.from_dict(found) if found else None, Residuals.from_dict(errors) if errors else None
        )
    except BoxError as error:
        return Calibration(problem=f"the evaluation cannot be read: {error.message}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Calibration(problem=f"the evaluation cannot be read: {error}")
