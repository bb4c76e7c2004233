"""Calibration is read as it was recorded; what is not there is said, and never made up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_box.box import Box
from mlops_box.canonical import canonical_json
from mlops_box.evaluation.calibration import reliability
from mlops_box.operations.calibration import NOT_RECORDED, stored_calibration

FOUND = reliability(np.array([0.2, 0.7, 0.9]), np.array([False, True, True]), event="left = true")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box.open(tmp_path / "box") as opened:
        yield opened


def files(box: Box, evaluation: Any) -> dict[str, str]:
    data = evaluation if isinstance(evaluation, bytes) else canonical_json(evaluation).encode()
    return {"evaluation.json": box.objects.put_bytes(data, kind="evaluation")}


def test_what_was_recorded_is_read(box: Box) -> None:
    found = stored_calibration(
        box, files(box, {"format": 1, "reliability": FOUND.to_dict(), "residuals": None})
    )
    assert found.reliability == FOUND
    assert (found.residuals, found.problem) == (None, None)


def test_a_version_from_before_the_record_says_so(box: Box) -> None:
    found = stored_calibration(box, files(box, {"format": 1, "metrics": {"auc": 0.9}}))
    assert found.problem == NOT_RECORDED
    assert stored_calibration(box, {}).problem == "not recorded: this version has no evaluation"


@pytest.mark.parametrize(
    "evaluation",
    [
        b"{",
        [1],
        {"reliability": {"event": "x"}},
        {"reliability": {**FOUND.to_dict(), "bins": [{"said": "0.1", "seen": 0, "rows": 1}]}},
        {"residuals": {"target": "y", "rows": 1, "mean": 0.0, "errors": [0.0], "bins": []}},
    ],
)
def test_an_evaluation_that_cannot_be_read_is_a_problem_and_no_traceback(box: Box, evaluation: Any) -> None:
    found = stored_calibration(box, files(box, evaluation))
    assert found.problem is not None
    assert found.problem.startswith("the evaluation cannot be read: ")


def test_an_evaluation_that_is_gone_is_a_problem(box: Box) -> None:
    held = files(box, {"reliability": FOUND.to_dict()})
    box.objects.path(held["evaluation.json"]).unlink()
    assert "cannot be read" in (stored_calibration(box, held).problem or "")
