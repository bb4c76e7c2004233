"""What ``why`` prints of a rollout, word for word. Renewed like the others: UPDATE_TRANSCRIPTS=1."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from monitor_case import Case
from test_rollout_operations import observed, retrained, rollout_case
from test_why_transcripts import GOLDEN, masked

from mlops_box.operations.rollout import advance
from mlops_box.operations.why import explain


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    with rollout_case(tmp_path) as made:
        yield made


@pytest.mark.parametrize(("name", "failing"), [("rollout-champion", 0), ("rollout-rolled-back", 90)])
def test_why_tells_every_transition_with_its_numbers(case: Case, name: str, failing: int) -> None:
    rollout = retrained(case)
    observed(case, rollout)
    advance(case.box)
    while (rollout := case.box.rollouts.get(rollout.id)).is_open:
        observed(case, rollout, failing=failing)
        advance(case.box)
    text = masked("\n".join(explain(case.box, rollout.id).lines)) + "\n"
    file = GOLDEN / f"why-{name}.txt"
    if os.environ.get("UPDATE_TRANSCRIPTS"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")
