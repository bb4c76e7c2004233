"""The epochs of a training, recorded as they end."""

from __future__ import annotations

from dataclasses import dataclass

from mlops_box.box import Box
from mlops_box.epochs import EpochPlan


@dataclass(frozen=True)
class RecordedEpochs:
    """Writes into box.db what a training in epochs tells."""

    box: Box
    run_id: str

    def begin(self, plan: EpochPlan) -> None:
        self.box.epochs.begin(self.run_id, plan)

    def epoch(self, number: int, losses: dict[str, float], *, replayed: bool) -> None:
        self.box.runs.point(self.run_id, number, losses, replayed=replayed)

    def end(self) -> None:
        self.box.epochs.end(self.run_id)
