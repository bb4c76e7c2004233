"""A box on which a rollout was rolled back by evidence: trained, let in, observed and judged by the real operations."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from monitor_case import Case
from test_rollout_operations import observed, retrained, rollout_case

from mlops_box.operations.rollout import advance

EVIDENCE = "10.00% of 600 requests failed (60 raised), 0.00% of the champion's 3000"


@contextmanager
def rolled_back(folder: Path) -> Iterator[Case]:
    """``kettles@1`` serves; ``kettles@2`` failed in each tenth request of its first canary, three minutes ago."""
    with rollout_case(folder) as case:
        rollout = retrained(case)
        for failing in (0, 60):
            observed(case, case.box.rollouts.get(rollout.id), failing=failing)
            advance(case.box)
        case.clock.advance(timedelta(minutes=3))
        yield case
